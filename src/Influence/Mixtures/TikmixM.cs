using Influence.Display;
using Influence.Groups;
using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// TiKMiX-M: measures the influence of mixed groups around a first mixture, fits a regression to it, and searches for the
/// mixture that the regression predicts to be best.
/// </summary>
/// <remarks>
/// <para>Candidates come from a Latin hypercube in a box around the centre, divided by their sum; those that then lie outside
/// the box are rejected. The value of a candidate is sum_i Phat_i, its influence per target over the scales that
/// <see cref="TikmixD"/> uses. A linear and a quadratic ridge are fitted; the one that ranks held-out candidates better is
/// searched by draws around the best mixture so far, ever closer, inside the box and, unless <see cref="KeepTargets"/> is false,
/// where S w &gt;= S w_prior. It starts at the centre or, where that is worse than the prior for a target, at the best measured
/// candidate that is not.</para>
/// <para>Reference: TiKMiX (2025, arXiv 2508.17677), which fits LightGBM. With the default measurement S w the value is linear
/// in w, and the search solves a linear program; the method earns its cost with a measurement of mixed groups that is not
/// the sum of its parts.</para>
/// </remarks>
public sealed record TikmixM
{
    private const int Attempts = 50;

    // TikmixD meets its constraints to this much, and its answer is the usual centre.
    private const double Tolerance = 1e-6;

    /// <summary>Candidates that are measured.</summary>
    /// <value>64.</value>
    /// <exception cref="InfluenceException">Fewer than 4.</exception>
    public int Candidates
    {
        get;
        init => field = Check.AtLeast(value, 4);
    } = 64;

    /// <summary>The box: each weight from centre / Reach to centre * Reach, both widened by <see cref="Margin"/>.</summary>
    /// <value>2.</value>
    /// <exception cref="InfluenceException">Not above 1.</exception>
    public double Reach
    {
        get;
        init => field = Check.Above(value, 1);
    } = 2;

    /// <summary>What the box is wider by on both sides, so that groups of little weight can gain some.</summary>
    /// <value>0.02.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Margin
    {
        get;
        init => field = Check.NotNegative(value);
    } = 0.02;

    /// <summary>Whether no target's predicted influence S w may fall below the prior's, in the search.</summary>
    /// <value>true.</value>
    public bool KeepTargets { get; init; } = true;

    /// <summary>Decides candidates, folds and search.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Finds the mixture.</summary>
    /// <param name="scores">Influence of training groups on targets.</param>
    /// <param name="centre">The centre of the box, usually <see cref="TikmixD"/>'s answer.</param>
    /// <param name="prior">The present mixture, that no target may fall behind; null for the centre.</param>
    /// <param name="measure">The influence of a group mixed by a mixture on every target, per token, in the scores' order of targets; null
    /// for S w.</param>
    /// <param name="cancellationToken">Checked between measurements.</param>
    /// <returns>The mixture, and how well the regressions rank candidates that they did not see.</returns>
    /// <exception cref="InfluenceException">Groups that do not match, too small a box, one in which no candidate keeps the targets, or
    /// measurements of another number of targets or that are not finite.</exception>
    public Result Optimize(
        GroupScores scores,
        Mixture centre,
        Mixture? prior = null,
        Func<Mixture, double[]>? measure = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(centre);
        var targets = new MixtureTargets(scores);
        centre = Normalized(centre);
        prior = prior is null ? centre : Normalized(prior);
        var floors = targets.Predict(prior.Weights);
        var (lower, upper) = Box(centre);
        var candidates = Inside(centre, lower, upper);
        var centreKeeps = Keeps(centre);
        if (!centreKeeps && !candidates.Any(Keeps))
        {
            throw new InfluenceException(
                $"The centre is worse than the prior for {Mixture.Quoted([.. Behind(centre)])}, and so is every one of the "
                    + $"{candidates.Count} candidates around it for some target. Give a centre that keeps the targets, as new "
                    + "TikmixD().Optimize(scores, prior).Mixture does, a larger Reach or Margin, or write KeepTargets = false."
            );
        }

        var observed = Mixture.Point.All(candidates, Value, cancellationToken);
        var (best, other) = MixtureRegression.FitBest(observed, Seed);

        // Never at the prior: it may lie outside the box, where the regression saw nothing.
        var start = centreKeeps ? centre : observed.Where(o => Keeps(o.Mixture)).MaxBy(o => o.Value)!.Mixture;
        var found = new DirichletSearch { Seed = Seed }.Maximize(start, best.Predict, m => Within(m.Weights, lower, upper) && Keeps(m));
        return new(found, observed, best, other, best.Predict(found));

        Mixture Normalized(Mixture mixture) => new(targets.Groups, Simplex.Normalized(mixture.WeightsOf(targets.Groups, "the scores")));

        bool Keeps(Mixture mixture) => !KeepTargets || !Behind(mixture).Any();

        IEnumerable<string> Behind(Mixture mixture) =>
            targets.Names.Where((_, i) => targets.Predict(i, mixture.Weights) < floors[i] - Tolerance);

        double Value(Mixture mixture)
        {
            if (measure is null)
            {
                return targets.Predict(mixture.Weights).Sum();
            }

            var influence = measure(mixture);
            return influence.Length == targets.Names.Count
                ? influence.Zip(targets.Scales, (p, s) => p / s).Sum()
                : throw new InfluenceException(
                    $"measure returns one influence for each of the {targets.Names.Count} targets; found {influence.Length}."
                );
        }
    }

    private (double[] Lower, double[] Upper) Box(Mixture centre) =>
        (
            [.. centre.Weights.Select(w => Math.Max(0, (w / Reach) - Margin))],
            [.. centre.Weights.Select(w => Math.Min(1, (w * Reach) + Margin))]
        );

    private List<Mixture> Inside(Mixture centre, double[] lower, double[] upper)
    {
        var accepted = new List<Mixture>();
        for (var attempt = 0; attempt < Attempts && accepted.Count < Candidates; attempt++)
        {
            accepted.AddRange(
                LatinHypercube
                    .Sample(lower, upper, Candidates, KeyedRandom.Mix((ulong)Seed + (ulong)attempt) is var key ? (long)key : 0)
                    .Where(point => point.Sum() > 0)
                    .Select(Simplex.Normalized)
                    .Where(w => Within(w, lower, upper))
                    .Select(w => new Mixture(centre.Names, w))
                    .Take(Candidates - accepted.Count)
            );
        }

        return accepted.Count == Candidates
            ? accepted
            : throw new InfluenceException(
                $"Only {accepted.Count} of {Candidates} candidates lie in the box around the centre. Widen it: "
                    + "a larger Reach or Margin."
            );
    }

    private static bool Within(IReadOnlyList<double> weights, double[] lower, double[] upper)
    {
        for (var j = 0; j < lower.Length; j++)
        {
            if (weights[j] < lower[j] || weights[j] > upper[j])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>What <see cref="TikmixM"/> found.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            Mixture mixture,
            IReadOnlyList<Mixture.Point> observed,
            MixtureRegression regression,
            MixtureRegression other,
            double predicted
        ) => (Mixture, Observed, Regression, OtherRegression, Predicted) = (mixture, observed, regression, other, predicted);

        /// <summary>The mixture.</summary>
        public Mixture Mixture { get; }

        /// <summary>The candidates and their measured sum_i Phat_i.</summary>
        public IReadOnlyList<Mixture.Point> Observed { get; }

        /// <summary>The predicted sum_i Phat_i of the mixture.</summary>
        public double Predicted { get; }

        /// <summary>
        /// What the regression that was searched is worth: Spearman's correlation of the candidates' values with predictions by
        /// regressions that did not see them, in five folds. 1 if they are ranked as they came out, 0 if nothing was learnt; NaN if
        /// all values are equal.
        /// </summary>
        public double HeldOutRankCorrelation => Regression.HeldOutRankCorrelation;

        /// <summary>The regression that was searched.</summary>
        internal MixtureRegression Regression { get; }

        /// <summary>The one that ranked held-out candidates less well.</summary>
        internal MixtureRegression OtherRegression { get; }

        /// <summary>The mixture and the regressions.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"TiKMiX-M: predicted total influence {Predicted:G5}; held-out rank correlation over {Observed.Count} candidates: "
                    + $"{Regression.Features} {Regression.HeldOutRankCorrelation:F3} (used), {OtherRegression.Features} "
                    + $"{OtherRegression.HeldOutRankCorrelation:F3}",
                ["group", "weight"],
                [.. Mixture.Names.Select((name, j) => (IReadOnlyList<object>)[name, Mixture.Weights[j]])]
            );
    }
}
