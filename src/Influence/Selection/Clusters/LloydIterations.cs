using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Assign every point to its nearest centroid, move every centroid to the mean of its points, until little changes.</summary>
internal static class LloydIterations
{
    /// <summary>The last centroids and the inertia at each iteration, which never rises.</summary>
    public static (Tensor Centroids, IReadOnlyList<double> Inertia) Run(
        KMeans settings,
        Tensor points,
        Tensor start,
        CancellationToken cancellationToken
    )
    {
        using var scope = NewDisposeScope();
        var (centroids, inertia) = (start.alias(), new List<double>());
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var (assignment, distances) = NearestCentroid.Of(points, centroids);
            inertia.Add(distances.Sum());
            if (inertia.Count > settings.Iterations || (inertia.Count > 1 && inertia[^2] - inertia[^1] <= settings.Tolerance * inertia[^2]))
            {
                return (centroids.MoveToOuterDisposeScope(), inertia);
            }

            FillEmptyClusters(assignment, distances, (int)centroids.shape[0]);
            var means = Means(points, assignment, centroids);
            centroids.Dispose();
            centroids = means;
        }
    }

    /// <summary>An empty cluster takes the point that is farthest from its own centroid, unless that one is alone.</summary>
    private static void FillEmptyClusters(int[] assignment, double[] distances, int clusters)
    {
        var counts = new int[clusters];
        foreach (var cluster in assignment)
        {
            counts[cluster]++;
        }

        if (Array.IndexOf(counts, 0) < 0)
        {
            return;
        }

        var farthest = new Queue<int>(Relevance.Descending(distances).TakeWhile(i => distances[i] > 0));
        for (var empty = 0; empty < clusters; empty++)
        {
            while (counts[empty] == 0 && farthest.TryDequeue(out var point))
            {
                if (counts[assignment[point]] > 1)
                {
                    counts[assignment[point]]--;
                    (assignment[point], counts[empty]) = (empty, 1);
                }
            }
        }
    }

    /// <summary><c>[k, d]</c>, summed in float64; clusters without points are left out.</summary>
    private static Tensor Means(Tensor points, int[] assignment, Tensor centroids)
    {
        using var scope = NewDisposeScope();
        var (k, d) = ((int)centroids.shape[0], (int)centroids.shape[1]);
        var (sums, counts) = (new double[(long)k * d], new int[k]);
        foreach (var (start, length) in FeatureBlocks.Of(points.shape[0], d))
        {
            using var step = NewDisposeScope();
            var block = points.narrow(0, start, length).to_type(ScalarType.Float64).cpu().contiguous();
            var values = FeatureBlocks.Doubles(block);
            for (var i = 0; i < (int)length; i++)
            {
                var cluster = assignment[start + i];
                counts[cluster]++;
                var row = values.Slice(i * d, d);
                var sum = sums.AsSpan(cluster * d, d);
                for (var j = 0; j < sum.Length; j++)
                {
                    sum[j] += row[j];
                }
            }

            GC.KeepAlive(block);
        }

        var kept = Enumerable.Range(0, k).Where(cluster => counts[cluster] > 0).ToArray();
        var means = new double[(long)kept.Length * d];
        for (var i = 0; i < kept.Length; i++)
        {
            for (var j = 0; j < d; j++)
            {
                means[(i * d) + j] = sums[(kept[i] * d) + j] / counts[kept[i]];
            }
        }

        return tensor(means, [kept.Length, d], dtype: centroids.dtype, device: centroids.device).MoveToOuterDisposeScope();
    }
}
