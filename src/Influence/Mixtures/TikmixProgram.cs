using Influence.Numerics;
using MathNet.Numerics.LinearAlgebra;

namespace Influence.Mixtures;

/// <summary>The convex program of <see cref="TikmixD"/> as the solver wants it, and the proof of how good an answer is.</summary>
/// <remarks>
/// std(Phat) = |B w| with B the normalised influences, centred over targets, over sqrt(n). x = (w, t) where std counts, else w;
/// rows are the kept targets, lower bounds, upper bounds below 1, and t >= 0.
/// </remarks>
internal sealed class TikmixProgram
{
    // Floors and caps are loosened by this much, so that a prior that is already optimal leaves an interior to move in.
    private const double Loosening = 1e-9;

    // What counts as met.
    private const double Tolerance = 1e-6;

    private readonly TikmixD _settings;
    private readonly MixtureTargets _targets;
    private readonly Matrix<double> _normalized; // [n, m]
    private readonly Matrix<double> _spread; // [n, m]: std(Phat) = |B w|
    private readonly Vector<double> _sums; // [m]: over targets
    private readonly double[] _lower;
    private readonly double[] _upper;
    private readonly int[] _capped;
    private readonly bool _even;

    public TikmixProgram(TikmixD settings, MixtureTargets targets, double[] prior)
    {
        (_settings, _targets, Prior) = (settings, targets, prior);
        _normalized = Matrix<double>.Build.DenseOfArray(targets.Normalized);
        _sums = _normalized.ColumnSums();
        var n = targets.Names.Count;
        _spread = Matrix<double>.Build.Dense(n, targets.Groups.Count, (i, j) => (_normalized[i, j] - (_sums[j] / n)) / Math.Sqrt(n));
        _lower = [.. targets.Groups.Select(g => settings.Bounds[g].Minimum)];
        _upper = [.. targets.Groups.Select(g => settings.Bounds[g].Maximum)];
        _capped = [.. Enumerable.Range(0, _upper.Length).Where(j => _upper[j] < 1)];
        _even = settings.Alpha > 0 && n > 1;
        var largest = Math.Max(Math.Max(_even ? settings.Alpha : 0, settings.Gamma), settings.Beta * _sums.AbsoluteMaximum());
        Scale = largest > 0 ? largest : 1;
    }

    /// <summary>What the solver divides the objective by: its tolerances are absolute, and the constraints' scale is 1.</summary>
    public double Scale { get; }

    /// <summary>In the scores' order.</summary>
    public double[] Prior { get; }

    private int Count => _targets.Groups.Count;

    /// <summary>An answer with its prices and its proof.</summary>
    internal sealed record Answer(
        double[] Weights,
        double[] TargetPrices,
        double[] LowerPrices,
        double[] UpperPrices,
        double Objective,
        double Gap,
        double Violation,
        int Iterations
    );

    public Answer Solve(bool[] kept)
    {
        int[] targets = [.. Enumerable.Range(0, kept.Length).Where(i => kept[i])];
        var extra = _even ? 1 : 0;
        var (rows, floors) = Constraints(targets, extra);
        var program = new InteriorPoint
        {
            Cost = Vector<double>.Build.Dense(Count + extra, j => j < Count ? -_settings.Beta / Scale * _sums[j] : 0),
            Gamma = _settings.Gamma / Scale,
            Weights = Count,
            Equality = Ones(extra),
            EqualityValue = 1,
            Rows = rows,
            Floors = floors,
            Norm = _even ? (_settings.Alpha / Scale, _spread) : null,
        };
        var solution = program.Solve(Start(extra));
        var weights = Met(Clean(solution.X.Take(Count)), kept);
        var z = solution.Multipliers * Scale;
        var prices = new double[kept.Length];
        for (var r = 0; r < targets.Length; r++)
        {
            prices[targets[r]] = z[r];
        }

        var upper = new double[Count];
        for (var c = 0; c < _capped.Length; c++)
        {
            upper[_capped[c]] = z[targets.Length + Count + c];
        }

        double[] lower = [.. z.Skip(targets.Length).Take(Count)];
        return new(
            weights,
            prices,
            lower,
            upper,
            Objective(weights),
            Gap(weights, prices, lower, upper, solution.NormDual),
            Violation(weights, kept),
            solution.Iterations
        );
    }

    /// <summary>Throws where no mixture within the bounds does as well as the prior on every target.</summary>
    public void CheckFeasible(bool[] kept)
    {
        if (Prior.Select((w, j) => w >= _lower[j] && w <= _upper[j]).All(within => within) || !kept.Any(k => k))
        {
            return;
        }

        // The least t such that every floor is met but for t; x = (w, t + 1), since the solver's variables are positive.
        int[] targets = [.. Enumerable.Range(0, kept.Length).Where(i => kept[i])];
        var (rows, floors) = Constraints(targets, extra: 1);
        for (var r = 0; r < targets.Length; r++)
        {
            (rows[r, Count], floors[r]) = (1, floors[r] + 1);
        }

        var solution = new InteriorPoint
        {
            Cost = Vector<double>.Build.Dense(Count + 1, j => j == Count ? 1 : 0),
            Weights = Count,
            Equality = Ones(1),
            EqualityValue = 1,
            Rows = rows,
            Floors = floors,
        }.Solve(Start(1));
        var missing = solution.X[Count] - 1;
        if (missing > 1e-7)
        {
            var binding = targets.Where((_, r) => solution.Multipliers[r] > 1e-6).Select(i => _targets.Names[i]).ToList();
            throw new InfluenceException(
                $"No mixture within the bounds ({_settings.Bounds.Describe(_targets.Groups)}) is as good as the prior for "
                    + $"{Mixture.Quoted(binding)}: at least {missing:G3} of its best group's influence is missing. Loosen the bounds, "
                    + "give a prior that is within them, or write KeepTargets = false."
            );
        }
    }

    private (Matrix<double> Rows, Vector<double> Floors) Constraints(int[] targets, int extra)
    {
        var rows = Matrix<double>.Build.Dense(targets.Length + Count + _capped.Length + extra, Count + extra);
        var floors = Vector<double>.Build.Dense(rows.RowCount);
        for (var r = 0; r < targets.Length; r++)
        {
            for (var j = 0; j < Count; j++)
            {
                rows[r, j] = _normalized[targets[r], j];
            }

            floors[r] = _targets.Predict(targets[r], Prior) - Loosening;
        }

        for (var j = 0; j < Count; j++)
        {
            (rows[targets.Length + j, j], floors[targets.Length + j]) = (1, _lower[j]);
        }

        for (var c = 0; c < _capped.Length; c++)
        {
            var r = targets.Length + Count + c;
            (rows[r, _capped[c]], floors[r]) = (-1, -_upper[_capped[c]] - Loosening);
        }

        if (extra == 1)
        {
            rows[rows.RowCount - 1, Count] = 1;
        }

        return (rows, floors);
    }

    private double Objective(double[] weights)
    {
        var w = Vector<double>.Build.Dense(weights);
        return (_settings.Alpha * Deviation(w))
            - (_settings.Beta * _sums.DotProduct(w))
            + (_settings.Gamma * weights.Where(p => p > 0).Sum(p => p * Math.Log(p)));
    }

    private double Deviation(Vector<double> w) => (_spread * w).L2Norm();

    /// <summary>
    /// The objective less Lagrange's dual function at the solver's multipliers, which no feasible mixture's objective is below:
    /// z'g + min over the simplex of d'u + gamma sum u ln u, with d = -beta sums + alpha B'y - G'z and any |y| at most 1, since
    /// std(u) >= y'B u. The minimum is -gamma ln sum exp(-d_j / gamma).
    /// </summary>
    private double Gap(double[] weights, double[] targetPrices, double[] lowerPrices, double[] upperPrices, double[] normDual)
    {
        var d = -_settings.Beta * _sums;
        if (_even)
        {
            var y = Vector<double>.Build.Dense(normDual);
            d += _settings.Alpha * _spread.TransposeThisAndMultiply(y / Math.Max(1, y.L2Norm()));
        }

        d -= _normalized.TransposeThisAndMultiply(Vector<double>.Build.Dense(targetPrices));
        var dual = targetPrices.Select((z, i) => z * _targets.Predict(i, Prior)).Sum();
        for (var j = 0; j < Count; j++)
        {
            d[j] += upperPrices[j] - lowerPrices[j];
            dual += (lowerPrices[j] * _lower[j]) - (upperPrices[j] * _upper[j]);
        }

        var least = d.Minimum();
        dual += _settings.Gamma > 0 ? least - (_settings.Gamma * Math.Log(d.Sum(v => Math.Exp((least - v) / _settings.Gamma)))) : least;
        return Math.Max(0, Objective(weights) - dual);
    }

    private double Violation(double[] weights, bool[] kept)
    {
        var worst = 0.0;
        for (var i = 0; i < kept.Length; i++)
        {
            worst = kept[i] ? Math.Max(worst, _targets.Predict(i, Prior) - _targets.Predict(i, weights)) : worst;
        }

        for (var j = 0; j < Count; j++)
        {
            worst = Math.Max(worst, Math.Max(_lower[j] - weights[j], weights[j] - _upper[j]));
        }

        return worst;
    }

    /// <summary>
    /// The weights, where they meet the constraints; else the point nearest to them, on the segment to the prior, that does: a
    /// violation is at most proportional to the distance from a prior that has none.
    /// </summary>
    private double[] Met(double[] weights, bool[] kept)
    {
        var violation = Violation(weights, kept);
        if (violation <= Tolerance)
        {
            return weights;
        }

        if (Violation(Prior, kept) is var missed && missed > Tolerance / 2)
        {
            throw new InfluenceException(
                $"The solver did not meet the constraints: the worst is missed by {violation:G3}, and by {missed:G3} under the "
                    + "prior, so that there is nothing to fall back to. Loosen the bounds, give a prior that is within them, or bring "
                    + "Alpha, Beta and Gamma to more like sizes."
            );
        }

        var share = Tolerance / 2 / violation;
        return [.. weights.Select((w, j) => (share * w) + ((1 - share) * Prior[j]))];
    }

    /// <summary>Between the prior and the uniform mixture, where no weight is 0.</summary>
    private Vector<double> Start(int extra)
    {
        var w = Vector<double>.Build.Dense(Count, j => (0.5 * Prior[j]) + (0.5 / Count));
        return Vector<double>.Build.Dense(Count + extra, j => j < Count ? w[j] : 1 + Deviation(w));
    }

    private Vector<double> Ones(int extra) => Vector<double>.Build.Dense(Count + extra, j => j < Count ? 1 : 0);

    /// <summary>Within the bounds to the last bit, and of sum 1.</summary>
    private double[] Clean(IEnumerable<double> solved)
    {
        double[] weights = [.. solved.Select((w, j) => Math.Clamp(w, _lower[j], _upper[j]))];
        var rest = 1 - weights.Sum();
        var room = weights.Select((w, j) => rest > 0 ? _upper[j] - w : w - _lower[j]).ToArray();
        var all = room.Sum();
        return all > 0 ? [.. weights.Select((w, j) => w + (rest * room[j] / all))] : weights;
    }
}
