using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Columns of the incremental Cholesky factor of L, one for each pick.</summary>
internal abstract class DppColumns : IDisposable
{
    /// <summary><c>[N]</c>, float64; null where the pick lies within the span of those before, so that there is no further
    /// column.</summary>
    /// <param name="position">The pick.</param>
    /// <param name="root">d, the factor's entry on the diagonal.</param>
    public abstract Tensor? Next(int position, double root);

    public abstract void Dispose();
}

/// <summary>
/// Columns of the incremental Cholesky factor of L = B B^T: projections of all rows of B on the part of the picked row that is
/// orthogonal to the rows picked before. Nothing grows with N but B.
/// </summary>
/// <param name="rows">B, <c>[N, d]</c>, float64.</param>
internal sealed class LinearColumns(Tensor rows) : DppColumns
{
    private Tensor? _basis;

    public override Tensor? Next(int position, double root)
    {
        using var scope = NewDisposeScope();
        var row = rows.narrow(0, position, 1); // [1, d]
        var rest = row / Kept(root);
        // Twice: what rounding leaves of the earlier directions goes with the second.
        for (var i = 0; i < 2 && _basis is not null; i++)
        {
            rest -= rest.mm(_basis.t()).mm(_basis);
        }

        // In exact arithmetic 1. Far below, d was what rounding left of 0, and this direction is noise.
        var length = rest.norm().item<double>();
        if (!(length > 0.5))
        {
            return null;
        }

        var direction = rest / Kept(length); // [1, d]
        var grown = _basis is null ? direction.clone() : cat([_basis, direction]); // [t, d]
        _basis?.Dispose();
        _basis = grown.DetachFromDisposeScope();
        return rows.mv(direction.squeeze(0)).MoveToOuterDisposeScope(); // [N]
    }

    public override void Dispose() => _basis?.Dispose();
}

/// <summary>Columns of the incremental Cholesky factor of a Gaussian kernel, all of which are kept.</summary>
internal sealed class GaussianColumns : DppColumns
{
    private const int PointsForBandwidth = 1000;

    private readonly Tensor _points;
    private readonly Tensor _quality;
    private readonly double _bandwidth;
    private readonly Tensor _columns;
    private int _count;

    public GaussianColumns(Tensor features, Tensor quality, double? bandwidth, int most)
    {
        using var scope = NewDisposeScope();
        var unit = PowerOfTwo.Of(features);
        _points = (features.to_type(ScalarType.Float64) / Kept(unit)).DetachFromDisposeScope(); // [N, d]
        _quality = quality; // [N]
        _bandwidth = bandwidth / unit ?? MedianDistance();
        _columns = empty([most, features.shape[0]], ScalarType.Float64, features.device).DetachFromDisposeScope(); // [k, N]
    }

    public override Tensor Next(int position, double root)
    {
        using var scope = NewDisposeScope();
        var distances = (_points - _points[position]).Squared().sum([1L]); // [N]
        var kernel = (distances / Kept(-2 * _bandwidth * _bandwidth)).exp() * _quality * _quality[position];
        var before = _columns.narrow(0, 0, _count); // [t, N]
        var column = (kernel - before.t().mv(before.select(1, position).contiguous())) / Kept(root);
        _columns.select(0, _count++).copy_(column);
        return column.MoveToOuterDisposeScope();
    }

    public override void Dispose()
    {
        _points.Dispose();
        _columns.Dispose();
    }

    private double MedianDistance()
    {
        using var scope = NewDisposeScope();
        var n = _points.shape[0];
        var step = Math.Max(1, n / PointsForBandwidth);
        var some = _points.index_select(0, arange(Kept(0), Kept(n), Kept(step), ScalarType.Int64, _points.device)); // [m, d]
        var distances = cdist(some, some);
        var apart = distances.masked_select(distances.gt(Kept(0)));
        return apart.numel() == 0 ? 1 : apart.median().item<double>();
    }
}
