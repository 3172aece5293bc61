using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// k-means: k centroids so that the sum of squared distances from each point to its nearest centroid (the inertia) is small.
/// Lloyd's iterations from a k-means++ start.
/// </summary>
/// <param name="Clusters">k, at least 1.</param>
/// <remarks>
/// <para>
/// Cost: n k d multiply-adds an iteration over n = min(N, k <see cref="PointsPerCluster"/>) points drawn by the seed, then N k d
/// once to assign every point. The k-means++ start looks at a sample of 64 k of these points (at least 16,384). Memory: blocks
/// of 64 MiB beside the sample. An empty cluster takes over the point that is farthest from its centroid; where there are
/// fewer different points than k, there are fewer clusters.
/// </para>
/// <para>
/// Lloyd, <i>Least squares quantization in PCM</i>, 1982; Arthur and Vassilvitskii, <i>k-means++</i>, SODA 2007. Wrong where
/// directions matter and lengths do not: give rows of unit length then.
/// </para>
/// </remarks>
public sealed partial record KMeans(int Clusters)
{
    private const int SeedPointsPerCluster = 64;
    private const int FewestSeedPoints = 1 << 14;

    /// <summary>k.</summary>
    public int Clusters { get; } =
        Clusters >= 1 ? Clusters : throw new InfluenceException($"k-means makes at least 1 cluster, not {Clusters}.");

    /// <summary>Of the start and of the sample.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>At most so many iterations.</summary>
    /// <value>50.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Iterations
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 50;

    /// <summary>Ends once an iteration lowers the inertia by no more than this share of it; 0: once nothing moves.</summary>
    /// <value>1e-4.</value>
    /// <exception cref="InfluenceException">Negative or not a number.</exception>
    public double Tolerance
    {
        get;
        init => field = Check.AtLeast(value, 0.0);
    } = 1e-4;

    /// <summary>Centroids are found on at most so many points for each cluster, and all points assigned to them; null: on all
    /// points.</summary>
    /// <value>256.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? PointsPerCluster
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 256;

    /// <summary>Finds the clusters.</summary>
    /// <param name="features"><c>[N, d]</c>, finite, float32 or float64, on any device; they stay the caller's.</param>
    /// <param name="cancellationToken">Checked at each iteration.</param>
    /// <returns>Every point's cluster; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Another shape or dtype, or numbers that are not finite.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Result Fit(Tensor features, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(features);
        CheckFeatures(features);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var n = checked((int)features.shape[0]);
        var random = new KeyedRandom(Seed, "k-means");
        // Far from the origin, squared distances by |x|^2 - 2 x c + |c|^2 would lose all their digits.
        // And far from 1, squares would overflow or vanish.
        var unit = PowerOfTwo.Of(features);
        var mean = FeatureBlocks.Mean(features, unit); // [1, d]
        var sample = PointsPerCluster is { } points && (long)points * Clusters < n ? Sampling.Without(random, n, points * Clusters) : null;
        var x = ((sample is null ? features : FeatureBlocks.Rows(features, sample)) / Kept(unit)).sub_(mean); // [m, d]
        var seeds = Math.Max(FewestSeedPoints, SeedPointsPerCluster * (long)Clusters);
        var start = seeds < x.shape[0] ? FeatureBlocks.Rows(x, Sampling.Without(random, (int)x.shape[0], (int)seeds)) : x;
        var (centroids, inertia) = LloydIterations.Run(
            this,
            x,
            KMeansPlusPlus.Centroids(start, Clusters, random, cancellationToken),
            cancellationToken
        );
        return Result.Of(features, unit, mean, centroids, inertia);
    }

    private static void CheckFeatures(Tensor features)
    {
        if (
            features.dim() != 2
            || features.shape[0] == 0
            || features.shape[1] == 0
            || features.dtype is not (ScalarType.Float32 or ScalarType.Float64)
        )
        {
            throw new InfluenceException(
                $"k-means takes points [N, d] of float32 or float64; found [{string.Join(", ", features.shape)}] of {features.dtype}."
            );
        }

        foreach (var (start, length) in FeatureBlocks.Of(features.shape[0], features.shape[1]))
        {
            using var scope = NewDisposeScope();
            if (!features.narrow(0, start, length).isfinite().all().item<bool>())
            {
                throw new InfluenceException("k-means takes finite points; found NaN or infinity. Leave these points out.");
            }
        }
    }
}
