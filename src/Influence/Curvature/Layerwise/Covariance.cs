using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The sum of x x' over rows, whole or in diagonal blocks: each batch in the gradients' dtype, the sum over batches in
/// float64. Owns its tensors.
/// </summary>
/// <param name="sizes">The sizes of the diagonal blocks.</param>
internal sealed class Covariance(long[] sizes) : IDisposable
{
    private readonly Tensor?[] _sums = new Tensor?[sizes.Length];

    /// <summary>The number of rows so far.</summary>
    public double Rows { get; private set; }

    public IReadOnlyList<long> Sizes => sizes;

    /// <param name="x"><c>[R, n]</c>.</param>
    /// <param name="rows">How many of the rows count; rows that do not are zero.</param>
    public void Add(Tensor x, double rows) => Add(x, x, rows);

    /// <summary>Adds x y', for a product that is symmetric.</summary>
    /// <param name="x"><c>[R, n]</c>.</param>
    /// <param name="y"><c>[R, n]</c>.</param>
    /// <param name="rows">How many of the rows count; rows that do not are zero.</param>
    public void Add(Tensor x, Tensor y, double rows)
    {
        using var scope = NewDisposeScope();
        long start = 0;
        for (var k = 0; k < sizes.Length; k++)
        {
            var (left, right) = sizes.Length == 1 ? (x, y) : (x.narrow(1, start, sizes[k]), y.narrow(1, start, sizes[k]));
            var product = left.t().mm(right).to_type(ScalarType.Float64); // [n, n]
            if (_sums[k] is { } sum)
            {
                sum.add_(product);
            }
            else
            {
                _sums[k] = product.DetachFromDisposeScope();
            }

            start += sizes[k];
        }

        Rows += rows;
    }

    /// <summary>Whether every sum is a number.</summary>
    public bool IsFinite => _sums.All(sum => sum is null || (sum * Kept(0)).sum().eq(Kept(0)).item<bool>());

    /// <summary>Names the sums and the number of rows.</summary>
    public void Exchange(FitState state, string name)
    {
        for (var k = 0; k < sizes.Length; k++)
        {
            state.Sum(FormattableString.Invariant($"{name}.{k}"), ref _sums[k]);
        }

        ExchangeRows(state, name);
    }

    /// <summary>Names the number of rows alone.</summary>
    public void ExchangeRows(FitState state, string name)
    {
        var rows = Rows;
        state.Count($"{name}.rows", ref rows);
        Rows = rows;
    }

    /// <summary>The basis of the mean; the sums are freed.</summary>
    /// <param name="dtype">The dtype that gradients are rotated in.</param>
    /// <param name="unitTrace">Divide by the trace, not by the number of rows.</param>
    public FactorBasis Decompose(ScalarType dtype, bool unitTrace = false)
    {
        using var scope = NewDisposeScope();

        // No row counted: then they are all zero.
        var trace = unitTrace ? _sums.Sum(s => s!.trace().item<double>()) : 0;
        var divisor =
            !unitTrace ? Math.Max(Rows, 1)
            : trace > 0 ? trace
            : 1;
        var basis = FactorBasis.Of([.. _sums.Select(s => s! / Kept(divisor))], dtype, _sums[0]!.device);
        Dispose();
        return basis;
    }

    public void Dispose()
    {
        for (var k = 0; k < sizes.Length; k++)
        {
            _sums[k]?.Dispose();
            _sums[k] = null;
        }
    }
}
