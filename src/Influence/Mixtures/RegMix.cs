using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// RegMix: evaluates random mixtures around the natural proportions, usually by training a small model on each, fits a
/// regression, and takes the mean of the simulated mixtures that it predicts to be best.
/// </summary>
/// <remarks>
/// <para>Proposals are drawn from Dirichlet(c p^T / Z), p the prior, for strengths c evenly spaced in the logarithm. A draw
/// with a weight above <see cref="MaximumRatio"/> times the prior's is rejected, weights below <see cref="Smallest"/> become
/// 0, the rest are rounded to its multiples and divided by their sum.</para>
/// <para>Reference: Liu et al., RegMix: Data Mixture as Regression for Language Model Pre-training (ICLR 2025), which trains 512
/// models of a million parameters and fits LightGBM; give another <c>fit</c> for that. To predict from influence rather
/// than from training, evaluate by a mixture's <c>S w</c>.</para>
/// </remarks>
public sealed record RegMix
{
    private const int AttemptsPerMixture = 1000;

    /// <summary>Mixtures that are evaluated; at least 5, so that four fifths of them, without those held out, make a regression.</summary>
    /// <value>512.</value>
    /// <exception cref="InfluenceException">Fewer than 5.</exception>
    public int Mixtures
    {
        get;
        init => field = Check.AtLeast(value, MixtureRegression.FewestToHoldOut);
    } = 512;

    /// <summary>The power of the prior around which is drawn; below 1 it favours small groups.</summary>
    /// <value>0.5.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Temperature
    {
        get;
        init => field = Check.NotNegative(value);
    } = 0.5;

    /// <summary>The weakest strength: mixtures of almost one group.</summary>
    /// <value>0.1.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double MinimumStrength
    {
        get;
        init => field = Check.Positive(value);
    } = 0.1;

    /// <summary>The greatest strength.</summary>
    /// <value>5.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double MaximumStrength
    {
        get;
        init => field = Check.Positive(value);
    } = 5;

    /// <summary>Strengths in between, both included.</summary>
    /// <value>15.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Strengths
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 15;

    /// <summary>The most that a weight may be of the prior's.</summary>
    /// <value>15.</value>
    /// <exception cref="InfluenceException">Below 1.</exception>
    public double MaximumRatio
    {
        get;
        init => field = Check.AtLeast(value, 1.0);
    } = 15;

    /// <summary>Weights below this are 0.</summary>
    /// <value>0.0002.</value>
    /// <exception cref="InfluenceException">Below 0, or 1 and more.</exception>
    public double Smallest
    {
        get;
        init => field = Check.ShareBelowOne(value);
    } = 2e-4;

    /// <summary>Mixtures drawn from Dirichlet(prior) and predicted.</summary>
    /// <value>100,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Simulations
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100_000;

    /// <summary>How many of the best are averaged.</summary>
    /// <value>128.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Top
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 128;

    /// <summary>Whether the evaluated number is better when it is higher, rather than a loss.</summary>
    /// <value>false.</value>
    public bool HigherIsBetter { get; init; }

    /// <summary>Decides every draw.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Mixtures to evaluate.</summary>
    /// <param name="prior">The natural proportions.</param>
    /// <returns><see cref="Mixtures"/> of them, as many of each strength as divides evenly; a strength whose draws are rejected a thousand
    /// times on end leaves its share to the nearest one.</returns>
    /// <exception cref="InfluenceException">Settings out of range, or a cap that too few draws keep.</exception>
    public IReadOnlyList<Mixture> Propose(Mixture prior)
    {
        ArgumentNullException.ThrowIfNull(prior);
        CheckStrengths();
        var tempered = Simplex.Normalized([.. prior.Weights.Select(w => w > 0 ? Math.Pow(w, Temperature) : 0)]);
        var strengths = Simplex.LogSpaced(MinimumStrength, MaximumStrength, Strengths);
        var random = new KeyedRandom(Seed, "proposals");
        var proposals = new List<Mixture>();
        var given = Enumerable.Range(0, strengths.Length).ToList();
        while (proposals.Count < Mixtures && given.Count > 0)
        {
            // A rejected draw is repeated at its own strength: the weak ones are rejected most, and would come too short.
            var wanted = proposals.Count % strengths.Length;
            var strength = given.MinBy(k => Math.Abs(k - wanted));
            if (Draw(random, [.. tempered.Select(p => strengths[strength] * p)], prior) is { } mixture)
            {
                proposals.Add(mixture);
            }
            else
            {
                given.Remove(strength);
            }
        }

        return proposals.Count == Mixtures
            ? proposals
            : throw new InfluenceException(
                $"Only {proposals.Count} of {Mixtures} proposals keep every weight within {MaximumRatio} times "
                    + "the prior's. Raise MaximumRatio or MaximumStrength."
            );
    }

    /// <summary>The mean of the simulated mixtures that are predicted to be best.</summary>
    /// <param name="prior">The natural proportions.</param>
    /// <param name="predict">From a mixture to its predicted value.</param>
    /// <returns>The mixture.</returns>
    /// <exception cref="InfluenceException">Settings out of range, or no simulated mixture keeps the cap.</exception>
    public Mixture Best(Mixture prior, Func<Mixture, double> predict)
    {
        ArgumentNullException.ThrowIfNull(prior);
        ArgumentNullException.ThrowIfNull(predict);
        CheckStrengths();
        var random = new KeyedRandom(Seed, "simulation");
        var sign = HigherIsBetter ? -1 : 1;
        var top = Enumerable
            .Range(0, Simulations)
            .Select(_ => random.Dirichlet(prior.Weights))
            .Where(w => Keeps(w, prior))
            .Select(w => new Mixture(prior.Names, w))
            .Select(m => (Mixture: m, Value: sign * predict(m)))
            .OrderBy(m => m.Value)
            .Take(Top)
            .ToList();
        return top.Count > 0
            ? new(prior.Names, Simplex.Mean([.. top.Select(m => m.Mixture.Weights)]))
            : throw new InfluenceException(
                $"No simulated mixture keeps every weight within {MaximumRatio} times the prior's. Raise MaximumRatio."
            );
    }

    /// <summary>Proposes, evaluates, fits and simulates.</summary>
    /// <param name="prior">The natural proportions.</param>
    /// <param name="evaluate">What comes of a mixture: a loss, unless <see cref="HigherIsBetter"/>.</param>
    /// <param name="fit">From evaluated mixtures to a predictor; null for the ridge regression that ranks held-out mixtures better.</param>
    /// <param name="cancellationToken">Checked between evaluations.</param>
    /// <returns>The mixture and how well the predictor ranks mixtures that it did not see.</returns>
    /// <exception cref="InfluenceException">As above, or an evaluation that is not a finite number.</exception>
    public MixtureSearch.Result Optimize(
        Mixture prior,
        Func<Mixture, double> evaluate,
        Func<IReadOnlyList<Mixture.Point>, Func<Mixture, double>>? fit = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(evaluate);
        fit ??= observed => MixtureRegression.FitBest(observed, Seed).Best.Predict;
        var observed = Mixture.Point.All(Propose(prior), evaluate, cancellationToken);
        var predict = fit(observed);
        var mixture = Best(prior, predict);
        return new(mixture, predict(mixture), observed, [HeldOut.RankCorrelation(observed, 5, Seed, fit)]);
    }

    private Mixture? Draw(KeyedRandom random, double[] alpha, Mixture prior)
    {
        for (var attempt = 0; attempt < AttemptsPerMixture; attempt++)
        {
            if (Rounded(random.Dirichlet(alpha)) is { } weights && Keeps(weights, prior))
            {
                return new(prior.Names, weights);
            }
        }

        return null;
    }

    private double[]? Rounded(double[] weights)
    {
        double[] rounded =
        [
            .. weights.Select(w =>
                w < Smallest ? 0
                : Smallest > 0 ? Math.Round(w / Smallest) * Smallest
                : w
            ),
        ];
        return rounded.Sum() > 0 ? Simplex.Normalized(rounded) : null;
    }

    private bool Keeps(double[] weights, Mixture prior) => weights.Zip(prior.Weights).All(pair => pair.First <= MaximumRatio * pair.Second);

    private void CheckStrengths()
    {
        if (MinimumStrength > MaximumStrength)
        {
            throw new InfluenceException(
                $"Strengths go from small to large; found MinimumStrength {MinimumStrength} and MaximumStrength {MaximumStrength}."
            );
        }
    }
}
