using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Entropic optimal transport by Sinkhorn iterations in the log domain:
/// max over f, g of a.f + b.g - eps sum_ij a_i b_j (exp((f_i + g_j - C_ij) / eps) - 1).
/// </summary>
/// <remarks>
/// float64. Costs are kept where they have at most 2^25 elements (256 MiB), and are made anew in blocks of rows at each
/// iteration beyond that: memory is bounded, and an iteration is then one matrix product more.
/// </remarks>
internal sealed class Sinkhorn : IDisposable
{
    private readonly FeatureDistance _distance;
    private readonly Tensor _left;
    private readonly Tensor _right;
    private readonly List<Tensor> _kept = [];
    private readonly long _rows;

    /// <summary>Points <c>[n, d]</c> and <c>[m, d]</c>; both stay the caller's.</summary>
    public Sinkhorn(Tensor left, Tensor right, FeatureDistance distance, long blockElements = 1L << 22, long keptElements = 1L << 25)
    {
        using var scope = NewDisposeScope();
        _distance = distance;
        _left = Prepared(left);
        _right = Prepared(right.to(left.device));
        _rows = Math.Max(1, blockElements / right.shape[0]);
        if (left.shape[0] * right.shape[0] <= keptElements)
        {
            _kept.AddRange(Starts.Select(start => Cost(start).DetachFromDisposeScope()));
        }
    }

    private IEnumerable<long> Starts
    {
        get
        {
            for (var start = 0L; start < _left.shape[0]; start += _rows)
            {
                yield return start;
            }
        }
    }

    /// <summary>The median cost over at most 1,024 evenly spaced points of either side.</summary>
    public double MedianCost()
    {
        using var scope = NewDisposeScope();
        return Distances(Spaced(_left), Spaced(_right)).median().item<double>();
    }

    /// <summary>Iterates until the marginals are met.</summary>
    /// <param name="a">Mass of the left points, summing to 1, float64 <c>[n]</c>.</param>
    /// <param name="b">Mass of the right points, summing to 1, float64 <c>[m]</c>.</param>
    /// <param name="epsilon">The regularisation, in the unit of the cost.</param>
    /// <param name="tolerance">The sum of the marginals' errors at which to stop.</param>
    /// <param name="iterations">At most so many.</param>
    /// <param name="report">Told the iteration.</param>
    /// <returns>f <c>[n]</c>, which the caller disposes; the value of the dual; the error and the iterations at the end.</returns>
    public (Tensor Potential, double Value, double Error, int Iterations) Solve(
        Tensor a,
        Tensor b,
        double epsilon,
        double tolerance,
        int iterations,
        Action<int> report
    )
    {
        using var scope = NewDisposeScope();
        var (logA, logB) = (a.log(), b.log());
        var g = zeros_like(b); // [m]
        Tensor? f = null; // [n]
        for (var iteration = 1; ; iteration++)
        {
            using var step = NewDisposeScope();
            var parts = new List<Tensor>();
            Tensor? column = null; // [m], log of the sum over the rows so far
            foreach (var start in Starts)
            {
                using var block = NewDisposeScope();
                var cost = _kept.Count > 0 ? _kept[(int)(start / _rows)] : Cost(start); // [r, m]
                var part = ((g - cost) / Kept(epsilon) + logB).logsumexp(1) * Kept(-epsilon); // [r]
                // [m]
                var here = ((part.unsqueeze(1) - cost) / Kept(epsilon) + logA.narrow(0, start, cost.shape[0]).unsqueeze(1)).logsumexp(0);
                column = (column is null ? here : stack([column, here]).logsumexp(0)).MoveToOuterDisposeScope();
                parts.Add(part.MoveToOuterDisposeScope());
            }

            // g met the right marginal for the potential before; the left one is met as far as f moves no more.
            var next = cat([.. parts]); // [n]
            var error = f is null
                ? double.PositiveInfinity
                : (((f - next) / Kept(epsilon)).exp() - Kept(1)).abs().mul(a).sum().item<double>();
            f?.Dispose();
            f = next.MoveToOuterDisposeScope();
            if (error <= tolerance || iteration >= iterations)
            {
                // After an update of f the regularised term of the dual is zero.
                var value = (f * a).sum().item<double>() + (g * b).sum().item<double>();
                return (f.DetachFromDisposeScope(), value, error, iteration);
            }

            g.Dispose();
            g = (column! * Kept(-epsilon)).MoveToOuterDisposeScope();
            report(iteration);
        }
    }

    public void Dispose()
    {
        _left.Dispose();
        _right.Dispose();
        _kept.ForEach(block => block.Dispose());
    }

    private static Tensor Spaced(Tensor points)
    {
        var step = Math.Max(1, points.shape[0] / 1024);
        return points.index_select(0, arange(Kept(0), Kept(points.shape[0]), Kept(step), ScalarType.Int64, points.device));
    }

    private Tensor Prepared(Tensor points)
    {
        using var scope = NewDisposeScope();
        var exact = points.to_type(ScalarType.Float64);
        return (_distance == FeatureDistance.Cosine ? FeatureBlocks.Normalised(exact) : exact.alias()).DetachFromDisposeScope();
    }

    private Tensor Cost(long start)
    {
        using var scope = NewDisposeScope();
        return Distances(_left.narrow(0, start, Math.Min(_rows, _left.shape[0] - start)), _right).MoveToOuterDisposeScope();
    }

    private Tensor Distances(Tensor left, Tensor right) =>
        _distance == FeatureDistance.Cosine ? Kept(1) - left.mm(right.t()) : cdist(left, right);
}
