using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>The ways to maximise coverage: exactly, cluster by cluster, and on samples.</summary>
internal static class CoverageGreedy
{
    /// <summary>All similarities are kept up to so many points: 256 MiB.</summary>
    private const int DenseUpTo = 8192;

    /// <summary>Lazy greedy over all candidates at some positions; each is compared with each.</summary>
    public static void Exact(CoverageObjective objective, Picks picks, SelectionRun run, int[] positions)
    {
        using var scope = NewDisposeScope();
        using var coverage = CoverageOf(objective, positions);
        var greedy = new LazyGreedy(coverage, objective.Scale, objective.RelevanceAt(positions), run.CancellationToken);
        var total = picks.Count + picks.Room;
        while (!picks.Full && greedy.TryNext(candidate => picks.Fits(positions[candidate]), out var best, out var gain))
        {
            picks.Add(positions[best], gain);
            run.Report(picks.Count, total);
        }
    }

    /// <summary>
    /// Similarities count within clusters only. The objective is then a sum over clusters, and greedy on it is the merge of
    /// each cluster's own greedy sequence by gain: every pair of a cluster is compared once, whatever the budget.
    /// </summary>
    public static void Clustered(CoverageObjective objective, Picks picks, SelectionRun run, IReadOnlyList<int[]> clusters, bool tokens)
    {
        var sequences = new List<(int Position, double Gain)[]>();
        foreach (var cluster in clusters)
        {
            run.Report(sequences.Count, clusters.Count);
            sequences.Add([.. Sequence(objective, cluster, tokens ? cluster.Length : Math.Min(cluster.Length, picks.Room), run)]);
        }

        var next = new int[sequences.Count];
        var queue = new PriorityQueue<int, (double, int)>();
        for (var c = 0; c < sequences.Count; c++)
        {
            queue.Enqueue(c, (-sequences[c][0].Gain, sequences[c][0].Position));
        }

        while (!picks.Full && queue.TryDequeue(out var c, out _))
        {
            var (position, gain) = sequences[c][next[c]++];
            if (picks.Fits(position))
            {
                picks.Add(position, gain);
            }

            if (next[c] < sequences[c].Length)
            {
                queue.Enqueue(c, (-sequences[c][next[c]].Gain, sequences[c][next[c]].Position));
            }
        }
    }

    private static List<(int, double)> Sequence(CoverageObjective objective, int[] positions, int count, SelectionRun run)
    {
        using var scope = NewDisposeScope();
        using var coverage = CoverageOf(objective, positions);
        var greedy = new LazyGreedy(coverage, objective.Scale, objective.RelevanceAt(positions), run.CancellationToken);
        var sequence = new List<(int, double)>(count);
        while (sequence.Count < count && greedy.TryNext(_ => true, out var best, out var gain))
        {
            sequence.Add((positions[best], gain));
        }

        return sequence;
    }

    private static Coverage CoverageOf(CoverageObjective objective, int[] positions)
    {
        var (similarities, covered) = (objective.Similarities, objective.CoveredAt(positions));
        var points = similarities.At(positions);                                        // [n, d]
        return positions.Length <= DenseUpTo
            ? new DenseCoverage(similarities, points, covered)
            : new BlockCoverage(similarities, points, tensor(covered, dtype: points.dtype, device: points.device));
    }
}
