using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// A matrix of positive entries as a sum of outer products, W ~ sum over r of u_r v_r', each entry within a relative error, that
/// of rounding included.
/// Cross approximation with full pivoting: a row and a column of the remainder at a time, where it is relatively largest.
/// </summary>
/// <remarks>
/// With |W~ - W| at most e W in every entry, a score is off by at most e sqrt(s(q,q) s(z,z)), by Cauchy and Schwarz in the
/// preconditioned metric.
/// </remarks>
internal sealed class CrossApproximation : IDisposable
{
    private CrossApproximation(Tensor left, Tensor right) => (Left, Right) = (left, right);

    /// <summary>u, <c>[R, O]</c>.</summary>
    public Tensor Left { get; }

    /// <summary>v, <c>[R, I]</c>.</summary>
    public Tensor Right { get; }

    /// <summary>Null where more terms than the maximum would be needed.</summary>
    public static CrossApproximation? Of(Tensor weights, double tolerance, long maximumRank)
    {
        using var scope = NewDisposeScope();
        var wide = weights.to_type(ScalarType.Float64);
        if (!wide.gt(Kept(0)).all().item<bool>())
        {
            return null;
        }

        var rest = wide.clone(); // [O, I]
        var (left, right) = (new List<Tensor>(), new List<Tensor>());
        var columns = rest.shape[1];
        while (left.Count <= maximumRank)
        {
            using var step = NewDisposeScope();
            var relative = (rest / wide).abs_();
            var place = relative.argmax().item<long>();
            var (row, column) = (place / columns, place % columns);
            var error = relative.reshape(-1)[place].item<double>();
            if (error <= tolerance && error + Rounding() <= tolerance)
            {
                return new CrossApproximation(Pack(left), Pack(right));
            }

            var pivot = rest[row, column];
            var (u, v) = (rest.select(1, column) / pivot, rest.select(0, row).clone()); // [O], [I]
            rest.sub_(u.outer(v));
            left.Add(u.MoveToOuterDisposeScope());
            right.Add(v.MoveToOuterDisposeScope());
        }

        return null;

        // Terms cancel in entries that are far below the largest, and products are summed in the weights' dtype.
        double Rounding()
        {
            var epsilon = weights.dtype == ScalarType.Float64 ? 2.2e-16 : 1.2e-7;
            var terms = stack([.. left], 1).abs().mm(stack([.. right], 0).abs()); // [O, I]
            return (terms / wide).max().item<double>() * epsilon;
        }

        Tensor Pack(List<Tensor> terms) => stack([.. terms], 0).to_type(weights.dtype).DetachFromDisposeScope();
    }

    public void Dispose()
    {
        Left.Dispose();
        Right.Dispose();
    }
}
