using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Clusters that are small enough for all pairs within them.</summary>
internal static class CandidateClusters
{
    /// <summary>About <paramref name="size"/> points each, at most four times that; positions ascend.</summary>
    public static IReadOnlyList<int[]> Of(Tensor points, int size, long seed, CancellationToken cancellationToken)
    {
        var found = new List<int[]>();
        Split([.. Enumerable.Range(0, (int)points.shape[0])], depth: 0);
        return found;

        void Split(int[] positions, int depth)
        {
            if (positions.Length <= (depth == 0 ? size : 4 * size))
            {
                found.Add(positions);
                return;
            }

            using var scope = NewDisposeScope();
            var rows = depth == 0 ? points : FeatureBlocks.Rows(points, positions); // [n, d]
            using var clusters = new KMeans((positions.Length + size - 1) / size)
            {
                Seed = seed,
                Iterations = 20,
                Tolerance = 1e-3,
            }.Fit(rows, cancellationToken);
            foreach (var members in clusters.Members)
            {
                // Equal points cannot be told apart by k-means: they are cut in order.
                if (clusters.Count == 1)
                {
                    found.AddRange(members.Select(m => positions[m]).Chunk(size));
                    return;
                }

                Split([.. members.Select(m => positions[m])], depth + 1);
            }
        }
    }
}
