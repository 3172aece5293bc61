using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// min over w >= 0 of |sum_i w_i g_i - b|^2 + lambda |w|^2 for columns that come one by one, each solve starting where the last one
/// ended.
/// </summary>
/// <remarks>
/// Active sets after Lawson and Hanson, 1974, on the normal equations: a column whose weight would turn negative leaves and may come
/// back. Ends at the Karush-Kuhn-Tucker conditions: the gradient is 0 where w is positive, and not negative where w is 0.
/// </remarks>
/// <param name="target">b, <c>[d]</c>, float64 on the CPU.</param>
/// <param name="ridge">lambda.</param>
internal sealed class NonNegativeLeastSquares(Tensor target, double ridge) : IDisposable
{
    private const double Rounding = 1e-12;

    private readonly List<double[]> _gram = [];
    private readonly List<double> _correlations = [];
    private readonly List<double> _weights = [];
    private readonly List<int> _positive = [];
    private Tensor? _columns;

    public IReadOnlyList<double> Weights => _weights;

    /// <summary>b - sum_i w_i g_i, <c>[d]</c>.</summary>
    public Tensor Residual()
    {
        using var scope = NewDisposeScope();
        return (_columns is null ? target.clone() : target - _columns.t().mv(tensor(_weights.ToArray()))).MoveToOuterDisposeScope();
    }

    /// <summary>A further column, <c>[d]</c>, and all weights anew.</summary>
    public void Add(Tensor column)
    {
        using var scope = NewDisposeScope();
        var grown = _columns is null ? column.unsqueeze(0) : cat([_columns, column.unsqueeze(0)]); // [s, d]
        _gram.Add(grown.mv(column).data<double>().ToArray());
        _gram[^1][^1] += ridge;
        _correlations.Add(column.dot(target).item<double>());
        _weights.Add(0);
        _columns?.Dispose();
        _columns = grown.clone().DetachFromDisposeScope();
        Solve();
    }

    public void Dispose() => _columns?.Dispose();

    private void Solve()
    {
        // In exact arithmetic no set of positive weights comes twice; rounding must not make it endless.
        for (var tries = 3 * _weights.Count; tries > 0 && Entering() is { } entering; tries--)
        {
            _positive.Add(entering);
            while (_positive.Count > 0 && !TryStep(OnPositive())) { }
        }
    }

    /// <summary>To the solution, or as far as no weight turns negative; then those at zero leave and the answer is false.</summary>
    private bool TryStep(double[] solution)
    {
        var (step, binding) = (1.0, -1);
        for (var i = 0; i < solution.Length; i++)
        {
            var weight = _weights[_positive[i]];
            if (solution[i] <= 0 && (binding < 0 || weight / (weight - solution[i]) < step))
            {
                (step, binding) = (weight > 0 ? weight / (weight - solution[i]) : 0, i);
            }
        }

        for (var i = 0; i < solution.Length; i++)
        {
            var weight = _weights[_positive[i]];
            _weights[_positive[i]] =
                binding < 0 ? solution[i]
                : i == binding ? 0
                : Math.Max(0, weight + (step * (solution[i] - weight)));
        }

        return binding < 0 || _positive.RemoveAll(column => _weights[column] == 0) == 0;
    }

    /// <summary>The column at weight 0 that lowers the objective fastest, if any does.</summary>
    private int? Entering()
    {
        var (best, steepest) = ((int?)null, 0.0);
        for (var i = 0; i < _weights.Count; i++)
        {
            if (_weights[i] > 0)
            {
                continue;
            }

            var (gradient, size) = (_correlations[i], Math.Abs(_correlations[i]));
            foreach (var j in _positive)
            {
                gradient -= Gram(i, j) * _weights[j];
                size += Math.Abs(Gram(i, j) * _weights[j]);
            }

            if (gradient > Math.Max(steepest, Rounding * size))
            {
                (best, steepest) = (i, gradient);
            }
        }

        return best;
    }

    private double[] OnPositive()
    {
        using var scope = NewDisposeScope();
        var count = _positive.Count;
        var matrix = new double[count * count];
        for (var i = 0; i < count; i++)
        {
            for (var j = 0; j < count; j++)
            {
                matrix[(i * count) + j] = Gram(_positive[i], _positive[j]);
            }
        }

        var right = tensor(_positive.Select(i => _correlations[i]).ToArray()); // [p]
        return linalg.solve(tensor(matrix, [count, count]), right).data<double>().ToArray();
    }

    private double Gram(int i, int j) => i >= j ? _gram[i][j] : _gram[j][i];
}
