using Influence.Groups;
using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// TiKMiX-D: the mixture that raises predicted influence on all targets, evenly, without giving up variety and without
/// making any target worse off than the present mixture does.
/// </summary>
/// <remarks>
/// <para>Minimises alpha std(Phat) - beta sum_i Phat_i - gamma H(w) over the simplex, with Phat_i = sum_j S_ij w_j / scale_i, S the
/// influence per token of group j on target i, std the population's over targets and H(w) = -sum w ln w; subject to
/// S w >= S w_prior and to <see cref="Bounds"/>. The scale of a target is max_j S_ij; where no group helps it, max_j |S_ij|, so
/// that its Phat stays negative and the mixture harms it less.</para>
/// <para>Reference: TiKMiX: Take Data Influence into Dynamic Mixture for Language Model Pre-training (2025, arXiv 2508.17677). The
/// paper uses SLSQP from the uniform mixture. The problem is convex, so this is an interior-point method, whose multipliers
/// are the constraints' prices and prove how near the answer is to the optimum.</para>
/// <para>A target on which all groups have the same influence, to 1e-7 of the scale, is served alike by every mixture: it has no
/// constraint, and no price. Where the solver ends outside the constraints (they are met to 1e-6 else), the answer is drawn
/// back towards the prior until it meets them, and its <see cref="TikmixD.Result.Gap"/> says what that costs.</para>
/// <para>Measure all groups alike: fit the curvature behind the scores on examples drawn evenly from them, not by the present
/// mixture. A group that the mixture has dropped otherwise seems to help most; see <see cref="RemeasuredMixture"/>.</para>
/// <para>Predicted influence is linear in w: a group's effect on another group's is not in it. With one target and no binding
/// constraint the answer is w_j proportional to exp(beta S_j / (gamma max_j S_j)).</para>
/// </remarks>
public sealed partial record TikmixD
{
    private const double NoPrice = 1e-7;

    /// <summary>The weight of evenness among targets.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Alpha
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>The weight of total influence.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Beta
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>The weight of the mixture's entropy; with 0 most groups get nothing.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Gamma
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>Whether no target's predicted influence may fall below the prior's.</summary>
    /// <value>true.</value>
    public bool KeepTargets { get; init; } = true;

    /// <summary>The least and the most that groups may weigh, for example <see cref="MixtureBounds.Epochs"/>.</summary>
    /// <value>None.</value>
    public MixtureBounds Bounds { get; init; } = MixtureBounds.None;

    /// <summary>Finds the mixture. Cost: some tens of Newton steps of m^3 operations for m groups.</summary>
    /// <param name="scores">Influence of training groups on targets.</param>
    /// <param name="prior">The present mixture, of the same training groups in any order; null for natural proportions, by tokens.</param>
    /// <returns>The mixture, with a certificate and the constraints' prices.</returns>
    /// <exception cref="InfluenceException">Groups that do not match, constraints that no mixture satisfies, or that the solver does not
    /// meet where the prior does not either.</exception>
    public Result Optimize(GroupScores scores, Mixture? prior = null)
    {
        ArgumentNullException.ThrowIfNull(scores);
        var targets = new MixtureTargets(scores);
        Bounds.Check(targets.Groups);
        prior ??= Mixture.Proportional(scores.TrainGroups);

        // A mixture's weights sum to 1 within 1e-6 only, and bounds and floors are meant for a sum of 1.
        var program = new TikmixProgram(this, targets, Simplex.Normalized(prior.WeightsOf(targets.Groups, "the scores")));
        bool[] kept = [.. targets.Names.Select((_, i) => KeepTargets && targets.Varies(i))];
        program.CheckFeasible(kept);
        var answer = program.Solve(kept);
        return new(
            new Mixture(targets.Groups, answer.Weights),
            prior,
            [.. targets.Names.Select((name, i) => Outcome(program, targets, answer, kept, i))],
            [.. Prices(targets.Groups, answer, NoPrice * program.Scale)],
            answer.Objective,
            answer.Gap,
            program.Scale,
            answer.Violation,
            answer.Iterations
        );
    }

    private static Row Outcome(TikmixProgram program, MixtureTargets targets, TikmixProgram.Answer answer, bool[] kept, int i)
    {
        var price = answer.TargetPrices[i] > NoPrice * program.Scale ? answer.TargetPrices[i] : 0;

        // A constraint without a price can be dropped without moving the optimum, so only priced ones are solved without.
        var cost = price > 0 ? Math.Max(0, answer.Objective - program.Solve([.. kept.Select((k, t) => k && t != i)]).Objective) : 0;
        return new(
            targets.Names[i],
            targets.Predict(i, answer.Weights),
            targets.Predict(i, program.Prior),
            targets.Scales[i],
            price,
            cost,
            targets.NothingHelps(i)
        );
    }

    private IEnumerable<(string Group, bool Upper, double Bound, double ShadowPrice)> Prices(
        IReadOnlyList<string> groups,
        TikmixProgram.Answer answer,
        double noPrice
    )
    {
        for (var j = 0; j < groups.Count; j++)
        {
            var (minimum, maximum) = Bounds[groups[j]];
            if (minimum > 0 && answer.LowerPrices[j] > noPrice)
            {
                yield return (groups[j], Upper: false, minimum, answer.LowerPrices[j]);
            }

            if (maximum < 1 && answer.UpperPrices[j] > noPrice)
            {
                yield return (groups[j], Upper: true, maximum, answer.UpperPrices[j]);
            }
        }
    }
}
