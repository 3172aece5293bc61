using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>The start of k-means: each next centroid is a point, drawn in proportion to its squared distance to the nearest one so
/// far.</summary>
internal static class KMeansPlusPlus
{
    /// <summary><c>[k, d]</c> with all rows different, fewer than asked for where there are fewer different points.</summary>
    public static Tensor Centroids(Tensor points, int clusters, Random random, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        var (n, chosen) = (points.shape[0], new List<long> { random.NextInt64(points.shape[0]) });
        var distances = SquaredTo(points, chosen[0]); // [n]
        while (chosen.Count < Math.Min(clusters, n))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            var cumulative = distances.cumsum(0); // [n]
            var total = cumulative[n - 1].item<double>();
            if (!(total > 0))
            {
                break;
            }

            // Rounding may lead past the end, or to a point that is a centroid already: the farthest is taken then.
            var drawn = cumulative.le(Kept(random.NextDouble() * total)).sum().item<long>();
            if (drawn >= n || distances[drawn].item<double>() <= 0)
            {
                drawn = distances.argmax().item<long>();
            }

            chosen.Add(drawn);
            var nearest = distances.minimum(SquaredTo(points, drawn)); // [n]
            distances.copy_(nearest);
        }

        return points.index_select(0, tensor(chosen.ToArray(), device: points.device)).MoveToOuterDisposeScope();
    }

    /// <summary>By differences, so that equal points are at distance zero; <c>[n]</c> of float64.</summary>
    private static Tensor SquaredTo(Tensor points, long position)
    {
        using var scope = NewDisposeScope();
        return (points - points[position]).Squared().sum([1L], type: ScalarType.Float64).MoveToOuterDisposeScope();
    }
}
