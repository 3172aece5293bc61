using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>How many candidates each pick stands for.</summary>
internal static class PickAssignment
{
    /// <summary>In the order of the picks: each candidate counts for its most similar pick of its cluster, or of all where there is none;
    /// ties for the lowest position.</summary>
    public static double[] Counts(Similarities similarities, IReadOnlyList<int> picks, IReadOnlyList<int[]> clusters)
    {
        var order = new Dictionary<int, int>();
        for (var i = 0; i < picks.Count; i++)
        {
            order[picks[i]] = i;
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
            var (rows, chosen) = (similarities.At(candidates), similarities.At(own)); // [n, d], [k, d]
            foreach (var (start, length) in FeatureBlocks.Of(candidates.Length, own.Length))
            {
                using var step = NewDisposeScope();
                var (_, nearest) = similarities.Between(rows.narrow(0, start, length), chosen).max(1L); // [b]
                foreach (var pick in nearest.cpu().data<long>().ToArray())
                {
                    counts[order[own[pick]]]++;
                }
            }
        }
    }
}
