using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// CLIMB's iterative search: propose mixtures, evaluate them, refit a predictor to all that was evaluated, and propose the
/// next ones where it predicts the best. The groups are the caller's: domains, or clusters of embeddings.
/// </summary>
/// <remarks>
/// The first round draws from Dirichlet(c prior) with strengths c from <see cref="MinimumStrength"/> to
/// <see cref="MaximumStrength"/>. Each later round draws many times its number from the same distribution and, half of them,
/// around the best mixture evaluated so far, and evaluates those that are predicted best. The answer is found over the last fit,
/// by draws around the best evaluated mixture, ever closer. Reference: Diao et al., CLIMB:
/// CLustering-based Iterative Data Mixture Bootstrapping for Language Model Pre-training (2025); its number of rounds and
/// of mixtures per round are the defaults, the distributions are ours.
/// </remarks>
public sealed partial record MixtureSearch
{
    /// <summary>Mixtures evaluated in each round; in the first at least 5, so that those not held out make a regression.</summary>
    /// <value>64, 32, 16.</value>
    /// <exception cref="InfluenceException">None, a first round of fewer than 5, or a later one of none.</exception>
    public IReadOnlyList<int> Rounds
    {
        get;
        init =>
            field = Check.List(
                value,
                rounds => rounds.Count > 0 && rounds[0] >= MixtureRegression.FewestToHoldOut && rounds.All(n => n >= 1),
                $"begins with a round of at least {MixtureRegression.FewestToHoldOut} mixtures, and no later one is empty: Rounds = "
                    + "[64, 32, 16]"
            );
    } = [64, 32, 16];

    /// <summary>Drawn for each mixture that a later round evaluates.</summary>
    /// <value>100.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int DrawsPerMixture
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100;

    /// <summary>The weakest strength, times the number of groups: mixtures of few groups.</summary>
    /// <value>0.5.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double MinimumStrength
    {
        get;
        init => field = Check.Positive(value);
    } = 0.5;

    /// <summary>The greatest strength, times the number of groups: mixtures near the prior.</summary>
    /// <value>20.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double MaximumStrength
    {
        get;
        init => field = Check.Positive(value);
    } = 20;

    /// <summary>Whether the evaluated number is better when it is higher, rather than a loss.</summary>
    /// <value>false.</value>
    public bool HigherIsBetter { get; init; }

    /// <summary>Decides every draw.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Searches.</summary>
    /// <param name="prior">The natural proportions; a group of weight 0 is never used.</param>
    /// <param name="evaluate">What comes of a mixture: a loss, unless <see cref="HigherIsBetter"/>.</param>
    /// <param name="fit">From evaluated mixtures to a predictor; null for the ridge regression that ranks held-out mixtures better.</param>
    /// <param name="cancellationToken">Checked between evaluations.</param>
    /// <returns>The mixture, all evaluations, and each round's held-out rank correlation.</returns>
    /// <exception cref="InfluenceException">Settings out of range, or an evaluation that is not a finite number.</exception>
    public Result Optimize(
        Mixture prior,
        Func<Mixture, double> evaluate,
        Func<IReadOnlyList<Mixture.Point>, Func<Mixture, double>>? fit = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(prior);
        ArgumentNullException.ThrowIfNull(evaluate);
        if (MinimumStrength > MaximumStrength)
        {
            throw new InfluenceException(
                $"Strengths go from small to large; found MinimumStrength {MinimumStrength} and MaximumStrength {MaximumStrength}."
            );
        }

        fit ??= data => MixtureRegression.FitBest(data, Seed).Best.Predict;
        var sign = HigherIsBetter ? 1 : -1;
        var observed = Mixture.Point.All(Draw(prior, Rounds[0], 0), evaluate, cancellationToken);
        var correlations = new List<double>();
        for (var round = 1; round < Rounds.Count; round++)
        {
            var predict = Refit();
            var draws = Rounds[round] * DrawsPerMixture;
            var chosen = Draw(prior, draws - (draws / 2), 2 * round)
                .Concat(Draw(Best(), draws / 2, (2 * round) + 1))
                .OrderByDescending(m => sign * predict(m))
                .Take(Rounds[round]);
            observed.AddRange(Mixture.Point.All(chosen, evaluate, cancellationToken));
        }

        var last = Refit();
        var mixture = new DirichletSearch { Seed = Seed }.Maximize(Best(), m => sign * last(m));
        return new(mixture, last(mixture), observed, correlations);

        Mixture Best() => observed.MaxBy(o => sign * o.Value)!.Mixture;

        Func<Mixture, double> Refit()
        {
            correlations.Add(HeldOut.RankCorrelation(observed, 5, Seed, fit));
            return fit(observed);
        }
    }

    private IEnumerable<Mixture> Draw(Mixture centre, int count, int index)
    {
        var random = new KeyedRandom(Seed, "proposals", index);
        foreach (var strength in Simplex.LogSpaced(MinimumStrength, MaximumStrength, count))
        {
            yield return new(centre.Names, random.Dirichlet([.. centre.Weights.Select(w => strength * centre.Names.Count * w)]));
        }
    }
}
