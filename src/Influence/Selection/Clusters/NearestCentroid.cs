using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>The centroid nearest to each point.</summary>
internal static class NearestCentroid
{
    /// <summary>By point; the squared distance is taken by differences, without cancellation.</summary>
    /// <param name="points"><c>[n, d]</c>.</param>
    /// <param name="centroids"><c>[k, d]</c>, of points that were divided by the unit and then shifted; distances are between
    /// these.</param>
    /// <param name="unit">Divides the points.</param>
    /// <param name="shift"><c>[1, d]</c>, subtracted from the points after that.</param>
    public static (int[] Assignment, double[] SquaredDistances) Of(Tensor points, Tensor centroids, double unit = 1, Tensor? shift = null)
    {
        using var scope = NewDisposeScope();
        var (n, k) = (points.shape[0], centroids.shape[0]);
        var (assignment, distances) = (new int[n], new double[n]);
        var turned = centroids.t().contiguous(); // [d, k]
        var squares = centroids.Squared().sum([1L]).unsqueeze(0); // [1, k]
        foreach (var (start, length) in FeatureBlocks.Of(n, Math.Max(k, points.shape[1])))
        {
            using var step = NewDisposeScope();
            var block = points.narrow(0, start, length); // [b, d]
            block = shift is null ? block : (block / Kept(unit)).sub_(shift);
            // |x|^2 is the same for all centroids.
            var (_, nearest) = squares.addmm(block, turned, beta: 1, alpha: -2).min(1L); // [b]
            var difference = block - centroids.index_select(0, nearest); // [b, d]
            difference.Squared().sum([1L], type: ScalarType.Float64).cpu().data<double>().CopyTo(distances, (int)start);
            var found = nearest.cpu().data<long>().ToArray();
            for (var i = 0; i < found.Length; i++)
            {
                assignment[start + i] = (int)found[i];
            }
        }

        return (assignment, distances);
    }
}
