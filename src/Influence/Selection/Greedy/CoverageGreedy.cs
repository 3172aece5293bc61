using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>The ways to maximise coverage: exactly, cluster by cluster, and on samples.</summary>
internal static class CoverageGreedy
{
    /// <summary>All similarities are kept up to so many points: 381 MiB.</summary>
    private const int DenseUpTo = 10_000;

    /// <summary>Lazy greedy over all candidates at some positions; each is compared with each.</summary>
    public static void Exact(CoverageObjective objective, Picks picks, SelectionStrategy.Run run, int[] positions)
    {
        using var scope = NewDisposeScope();
        using var coverage = CoverageOf(objective, positions);
        var greedy = new LazyGreedy(coverage, objective.GainScale, objective.RelevanceAt(positions), run.CancellationToken);
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
    public static void Clustered(
        CoverageObjective objective,
        Picks picks,
        SelectionStrategy.Run run,
        IReadOnlyList<int[]> clusters,
        bool tokens
    )
    {
        foreach (var (position, gain) in Merged(objective, run, clusters, tokens ? int.MaxValue : picks.Room))
        {
            if (picks.Full)
            {
                return;
            }

            if (picks.Fits(position))
            {
                picks.Add(position, gain);
            }
        }
    }

    /// <summary>The greedy order of some candidates, whatever the budget; exactly or in clusters, as their number says.</summary>
    public static (int Position, double Gain)[] Sequence(
        CoverageObjective objective,
        int[] positions,
        int count,
        int exactUpTo,
        int clusterSize,
        long seed,
        SelectionStrategy.Run run
    )
    {
        if (positions.Length <= exactUpTo)
        {
            return [.. Sequence(objective, positions, count, run)];
        }

        using var scope = NewDisposeScope();
        var clusters = CandidateClusters.Of(objective.Similarities.At(positions), clusterSize, seed, run.CancellationToken);
        return
        [
            .. Merged(objective, run, [.. clusters.Select(cluster => Array.ConvertAll(cluster, member => positions[member]))], count)
                .Take(count),
        ];
    }

    private static IEnumerable<(int Position, double Gain)> Merged(
        CoverageObjective objective,
        SelectionStrategy.Run run,
        IReadOnlyList<int[]> clusters,
        int count
    )
    {
        var sequences = new List<List<(int Position, double Gain)>>();
        foreach (var cluster in clusters)
        {
            run.Report(sequences.Count, clusters.Count);
            sequences.Add(Sequence(objective, cluster, count, run));
        }

        var next = new int[sequences.Count];
        var queue = new PriorityQueue<int, (double, int)>();
        for (var c = 0; c < sequences.Count; c++)
        {
            queue.Enqueue(c, (-sequences[c][0].Gain, sequences[c][0].Position));
        }

        while (queue.TryDequeue(out var c, out _))
        {
            yield return sequences[c][next[c]++];
            if (next[c] < sequences[c].Count)
            {
                queue.Enqueue(c, (-sequences[c][next[c]].Gain, sequences[c][next[c]].Position));
            }
        }
    }

    private static List<(int Position, double Gain)> Sequence(
        CoverageObjective objective,
        int[] positions,
        int count,
        SelectionStrategy.Run run
    )
    {
        using var scope = NewDisposeScope();
        using var coverage = CoverageOf(objective, positions);
        var greedy = new LazyGreedy(coverage, objective.GainScale, objective.RelevanceAt(positions), run.CancellationToken);
        var sequence = new List<(int, double)>(Math.Min(count, positions.Length));
        while (sequence.Count < count && greedy.TryNext(_ => true, out var best, out var gain))
        {
            sequence.Add((positions[best], gain));
        }

        return sequence;
    }

    private static Coverage CoverageOf(CoverageObjective objective, int[] positions)
    {
        var (similarities, covered) = (objective.Similarities, objective.CoveredAt(positions));
        var points = similarities.At(positions); // [n, d]
        return positions.Length <= DenseUpTo
            ? new DenseCoverage(similarities, points, covered)
            : new BlockCoverage(similarities, points, tensor(covered, dtype: points.dtype, device: points.device));
    }
}
