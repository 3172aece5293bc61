using Influence.Numerics;
using MathNet.Numerics.LinearAlgebra;

namespace Influence.Mixtures;

/// <summary>What a regression sees of a mixture.</summary>
internal enum MixtureFeatures
{
    /// <summary>The weights.</summary>
    Linear,

    /// <summary>The weights, their squares and their products in pairs.</summary>
    Quadratic,
}

/// <summary>
/// Ridge regression from a mixture's weights to a number: the cheap stand-in for training a model, or measuring a group, per
/// mixture. Immutable; plain memory.
/// </summary>
/// <remarks>
/// <para>Features are centred and scaled to unit variance, the intercept is not penalised, and the penalty is that of the lowest
/// leave-one-out error, which ridge regression has in closed form: the residual over 1 - h_ii, h the hat matrix.</para>
/// <para>Weights sum to 1, so coefficients are not identified; predictions are, and predictions are all that is offered. A
/// group whose weight never varies has no effect.</para>
/// </remarks>
internal sealed class MixtureRegression
{
    private const int Folds = 5;
    private const int FewestMixtures = 4;

    /// <summary>The fewest mixtures of which a regression, with its check on the number, can hold out a fold and fit the rest.</summary>
    internal const int FewestToHoldOut = FewestMixtures + 1;

    private readonly double[] _means;
    private readonly double[] _scales;
    private readonly double[] _coefficients;
    private readonly double _intercept;

    private MixtureRegression(
        IReadOnlyList<string> groups,
        MixtureFeatures features,
        double ridge,
        double rankCorrelation,
        double[] means,
        double[] scales,
        double[] coefficients,
        double intercept
    )
    {
        (Groups, Features, Ridge, HeldOutRankCorrelation) = (groups, features, ridge, rankCorrelation);
        (_means, _scales, _coefficients, _intercept) = (means, scales, coefficients, intercept);
    }

    /// <summary>The groups.</summary>
    public IReadOnlyList<string> Groups { get; }

    /// <summary>What it sees of a mixture.</summary>
    public MixtureFeatures Features { get; }

    /// <summary>The penalty that was chosen, for features of unit variance and the mean squared error.</summary>
    public double Ridge { get; }

    /// <summary>
    /// Spearman's correlation of values with predictions by regressions that did not see them, in five folds: 1 if held-out
    /// mixtures are ranked as they came out, 0 if nothing was learnt; NaN if all values are equal.
    /// </summary>
    public double HeldOutRankCorrelation { get; }

    /// <summary>Fits the regression.</summary>
    /// <param name="observed">Mixtures of the same groups with their values; at least 4, better several times the number of groups.</param>
    /// <param name="features">What it sees of a mixture.</param>
    /// <param name="seed">Decides the folds.</param>
    /// <returns>The fitted regression.</returns>
    /// <exception cref="InfluenceException">Fewer than 4 mixtures, mixtures of unlike groups, or values that are not finite.</exception>
    public static MixtureRegression Fit(
        IReadOnlyList<Mixture.Point> observed,
        MixtureFeatures features = MixtureFeatures.Linear,
        long seed = 0
    )
    {
        ArgumentNullException.ThrowIfNull(observed);
        Check(observed);
        var fit = Solve(observed, features);
        var correlation = HeldOut.RankCorrelation(observed, Folds, seed, part => Solve(part, features).Predict);
        return new(fit.Groups, features, fit.Ridge, correlation, fit._means, fit._scales, fit._coefficients, fit._intercept);
    }

    /// <summary>Fits both kinds of features and takes the one that ranks held-out mixtures better; the linear one if they are
    /// equal.</summary>
    /// <param name="observed">As for <see cref="Fit"/>.</param>
    /// <param name="seed">Decides the folds.</param>
    /// <returns>The better regression first, then the other one.</returns>
    /// <exception cref="InfluenceException">As for <see cref="Fit"/>.</exception>
    public static (MixtureRegression Best, MixtureRegression Other) FitBest(IReadOnlyList<Mixture.Point> observed, long seed = 0)
    {
        var (linear, quadratic) = (Fit(observed, MixtureFeatures.Linear, seed), Fit(observed, MixtureFeatures.Quadratic, seed));
        return quadratic.HeldOutRankCorrelation > linear.HeldOutRankCorrelation ? (quadratic, linear) : (linear, quadratic);
    }

    /// <summary>The predicted value of a mixture.</summary>
    /// <param name="mixture">Of the same groups, in any order.</param>
    /// <returns>The prediction.</returns>
    /// <exception cref="InfluenceException">The mixture is of other groups.</exception>
    public double Predict(Mixture mixture)
    {
        ArgumentNullException.ThrowIfNull(mixture);
        var x = FeaturesOf(mixture.WeightsOf(Groups, "the regression"), Features);
        var sum = _intercept;
        for (var f = 0; f < x.Length; f++)
        {
            sum += _coefficients[f] * (x[f] - _means[f]) / _scales[f];
        }

        return sum;
    }

    private static void Check(IReadOnlyList<Mixture.Point> observed)
    {
        if (observed.Count < FewestMixtures)
        {
            throw new InfluenceException(
                $"A regression needs at least {FewestMixtures} evaluated mixtures, better several times the "
                    + $"number of groups; found {observed.Count}."
            );
        }

        InfluenceException.ThrowIfAny([
            .. observed
                .Where(o => !double.IsFinite(o.Value))
                .Take(1)
                .Select(o => $"A mixture's value is {o.Value}; a finite number is expected."),
        ]);
        foreach (var o in observed)
        {
            _ = o.Mixture.WeightsOf(observed[0].Mixture.Names, "the first evaluated mixture");
        }
    }

    private static MixtureRegression Solve(IReadOnlyList<Mixture.Point> observed, MixtureFeatures features)
    {
        var groups = observed[0].Mixture.Names;
        var rows = observed.Select(o => FeaturesOf(o.Mixture.WeightsOf(groups, "the regression"), features)).ToArray();
        var (n, p) = (rows.Length, rows[0].Length);
        var intercept = observed.Average(o => o.Value);
        double[] means = [.. Enumerable.Range(0, p).Select(f => rows.Average(r => r[f]))];
        double[] scales = [.. Enumerable.Range(0, p).Select(f => Scale(rows, f, means[f]))];
        var x = Matrix<double>.Build.Dense(n, p, (i, f) => (rows[i][f] - means[f]) / scales[f]);
        var y = Vector<double>.Build.Dense(n, i => observed[i].Value - intercept);
        var svd = x.Svd();
        var rank = svd.S.Count(s => s > 1e-12 * Math.Max(svd.S[0], double.Epsilon));
        var (u, s) = (svd.U.SubMatrix(0, n, 0, Math.Max(rank, 1)), svd.S.SubVector(0, Math.Max(rank, 1)));
        var projected = u.TransposeThisAndMultiply(y);

        // From almost none to so much that only the intercept is left. The first of equal errors is the smallest penalty.
        var ridge = rank == 0 ? 0 : Simplex.LogSpaced(1e-12, 1e3, 46).MinBy(r => LeaveOneOutError(u, s, projected, y, r * n));
        double[] coefficients =
            rank == 0
                ? new double[p]
                :
                [
                    .. svd
                        .VT.SubMatrix(0, rank, 0, p)
                        .TransposeThisAndMultiply(projected.PointwiseMultiply(s.Map(v => v / ((v * v) + (ridge * n))))),
                ];
        return new(groups, features, ridge, double.NaN, means, scales, coefficients, intercept);
    }

    /// <summary>
    /// The sum of squares of residual_i / (1 - h_ii). Both are near 0 where features outnumber mixtures and the penalty is small, and
    /// their ratio is what matters: so both are summed from what the penalty leaves, P / (s^2 + P) a direction, and never as a difference.
    /// </summary>
    private static double LeaveOneOutError(Matrix<double> u, Vector<double> s, Vector<double> projected, Vector<double> y, double penalty)
    {
        var left = s.Map(v => penalty / ((v * v) + penalty)); // [rank]
        var residual = u * projected.PointwiseMultiply(left); // [n]

        // With the intercept n - 1 directions are all there are: then nothing lies outside of them but rounding.
        var whole = s.Count >= y.Count - 1;
        if (!whole)
        {
            residual += y - (u * projected);
        }

        var error = 0.0;
        for (var i = 0; i < y.Count; i++)
        {
            // 1 - h_ii: 1/n is the intercept's part of the hat matrix.
            var (free, inside) = (0.0, 0.0);
            for (var k = 0; k < s.Count; k++)
            {
                free += u[i, k] * u[i, k] * left[k];
                inside += u[i, k] * u[i, k];
            }

            free += whole ? 0 : Math.Max(0, 1 - (1.0 / y.Count) - inside);
            error += residual[i] / free * (residual[i] / free);
        }

        return error;
    }

    private static double Scale(double[][] rows, int feature, double mean)
    {
        var deviation = Math.Sqrt(rows.Average(r => (r[feature] - mean) * (r[feature] - mean)));
        return deviation > 1e-12 ? deviation : 1;
    }

    private static double[] FeaturesOf(double[] w, MixtureFeatures features) =>
        features == MixtureFeatures.Linear ? w : [.. w, .. w.SelectMany((a, i) => w.Skip(i).Select(b => a * b))];
}
