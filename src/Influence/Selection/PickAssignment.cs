using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>How many candidates each pick stands for.</summary>
internal static class PickAssignment
{
    /// <summary>In the order of the picks from <paramref name="from"/> on: each of the candidates counts for its most similar pick, ties for the lowest position.</summary>
    public static double[] Counts(Similarities similarities, Picks picks, IReadOnlyList<int[]> clusters, int from = 0)
    {
        var order = new Dictionary<int, int>();
        for (var i = from; i < picks.Count; i++)
        {
            order[picks.Positions[i]] = i - from;
        }

        int[] everywhere = [.. order.Keys.Order()];
        var counts = new double[order.Count];
        var without = new List<int>();
        foreach (var cluster in clusters)
        {
            int[] own = [.. cluster.Where(order.ContainsKey)];
            if (own.Length == 0)
            {
                without.AddRange(cluster);
                continue;
            }

            Count(cluster, own);
        }

        if (without.Count > 0)
        {
            Count([.. without], everywhere);
        }

        return counts;

        void Count(int[] candidates, int[] own)
        {
            using var scope = NewDisposeScope();
            var (rows, chosen) = (similarities.At(candidates), similarities.At(own));   // [n, d], [k, d]
            foreach (var (start, length) in FeatureBlocks.Of(candidates.Length, own.Length))
            {
                using var step = NewDisposeScope();
                var (_, nearest) = similarities.Between(rows.narrow(0, start, length), chosen).max(1L);         // [b]
                foreach (var pick in nearest.cpu().data<long>().ToArray())
                {
                    counts[order[own[pick]]]++;
                }
            }
        }
    }
}
