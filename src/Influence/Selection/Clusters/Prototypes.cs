using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Clusters by k-means, and each candidate's distance to the centroid of its own.</summary>
internal sealed class Prototypes : IDisposable
{
    private Prototypes(KMeans.Result clustering, Tensor centroids, double[] distances) =>
        (Members, Assignment, Centroids, Distances) = (clustering.Members, clustering.Assignment, centroids, distances);

    public IReadOnlyList<IReadOnlyList<int>> Members { get; }

    public IReadOnlyList<int> Assignment { get; }

    /// <summary><c>[K, d]</c>; unit rows where the distance is the cosine's.</summary>
    public Tensor Centroids { get; }

    /// <summary>By position; 0 at the centroid.</summary>
    public double[] Distances { get; }

    /// <summary>Finds them: by cosine on rows of unit length.</summary>
    public static Prototypes Of(SelectionPool pool, int clusters, FeatureDistance distance, long seed, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        var kmeans = new KMeans(Math.Min(pool.Count, clusters)) { Seed = seed };
        if (distance == FeatureDistance.Euclidean)
        {
            using var found = kmeans.Fit(pool.Features!, cancellationToken);
            return new Prototypes(found, found.Centroids.clone().DetachFromDisposeScope(), [.. found.SquaredDistances.Select(Math.Sqrt)]);
        }

        var unit = FeatureBlocks.Normalised(pool.Features!); // [N, d]
        using var clustering = kmeans.Fit(unit, cancellationToken);
        var centroids = FeatureBlocks.Normalised(clustering.Centroids); // [K, d]
        var distances = new double[pool.Count];
        var assignment = tensor(clustering.Assignment.Select(c => (long)c).ToArray(), device: unit.device); // [N]
        foreach (var (start, length) in FeatureBlocks.Of(pool.Count, unit.shape[1]))
        {
            using var block = NewDisposeScope();
            var own = centroids.index_select(0, assignment.narrow(0, start, length)); // [b, d]
            var cosines = (unit.narrow(0, start, length) * own).sum([1L], type: ScalarType.Float64); // [b]
            FeatureBlocks.ToDoubles((Kept(1) - cosines).clamp_min(Kept(0))).CopyTo(distances, start);
        }

        return new Prototypes(clustering, centroids.DetachFromDisposeScope(), distances);
    }

    /// <summary>The root of N, at most 1,000: what the strategies take where no number of clusters is given.</summary>
    public static int Default(SelectionPool pool) => Math.Min(1000, (int)Math.Ceiling(Math.Sqrt(pool.Count)));

    public void Dispose() => Centroids.Dispose();
}
