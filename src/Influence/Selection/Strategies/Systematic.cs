using Influence.Numerics;

namespace Influence.Selection;

/// <summary>
/// Systematic sampling: exactly k candidates, each with exactly the inclusion probability
/// <code>pi_i = min(1, c w_i),   with c such that the pi_i sum to k</code>
/// where the weights w are the scores. One random number u in (0, 1) decides: with the candidates laid end to end, each as
/// long as its probability, those at u, u + 1, u + 2, ... are picked.
/// </summary>
/// <remarks>
/// <para>
/// Scores are not negative; a candidate of score zero is never picked. Candidates with probability 1 are picked first and
/// in any case, the others in the order of their ids. Neighbours in that order are seldom picked together, which spreads the
/// sample over ids; a period in the ids that meets the step of the sample makes it one-sided: <see cref="Shuffle"/> then. The
/// utility of a pick is its probability.
/// </para>
/// <para>
/// Weights are 1, or with <see cref="InverseProbabilityWeights"/> 1 / pi_i (Horvitz-Thompson): weighted sums over the picks
/// then have the sums over all candidates of score above zero as their expectation; so the weights sum to their number on
/// average.
/// </para>
/// <para>
/// Under a budget in tokens the expected tokens are the budget, c such that the pi_i times the lengths sum to it. What no
/// longer fits is passed over, and room that is left is filled by Gumbel-top-k with the same weights, so probabilities are
/// then nearly, not exactly, these. Cost: two sorts.
/// Reference: Madow, "On the Theory of Systematic Sampling, II", Annals of Mathematical Statistics, 1949.
/// </para>
/// </remarks>
public sealed record Systematic : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "systematic sampling";

    /// <summary>Whether candidates are laid end to end in a random order instead of that of their ids.</summary>
    /// <value>False.</value>
    public bool Shuffle { get; init; }

    /// <summary>Whether a pick's weight is one over its probability. Only with a budget in examples.</summary>
    /// <value>False: all weights are 1.</value>
    public bool InverseProbabilityWeights { get; init; }

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <inheritdoc/>
    /// <remarks>Only under a budget in tokens, where what is left may all have a score of zero.</remarks>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(budget);
        if (pool.Scores is null)
        {
            return NeedsScores(pool);
        }

        var problems = new List<string>();
        var scores = Relevance.Of(pool, Aggregation);
        var negative = Enumerable.Range(0, scores.Length).Where(i => scores[i] < 0).Select(i => pool.Ids[i]).ToList();
        if (negative.Count > 0)
        {
            problems.Add(
                "Probabilities are in proportion to scores, so none may be below 0; found such for "
                    + $"{InfluenceException.List(negative)}. Take Aggregation = ScoreAggregation.MeanRank, or Proportional."
            );
        }

        var positive = scores.Count(score => score > 0);
        if (positive == 0 || budget.Examples(pool) > positive)
        {
            problems.Add(
                $"The budget is {budget}, but only {positive:N0} of {pool.Count:N0} candidates have a score above 0 and can be drawn."
            );
        }

        if (InverseProbabilityWeights && budget.TokenCount is not null)
        {
            problems.Add(
                "Under a budget in tokens probabilities are not exact, so there are no weights of one over them: give the budget "
                    + "in examples, or leave InverseProbabilityWeights out."
            );
        }

        return problems;
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var weights = Relevance.Of(pool, Aggregation);
        var probabilities = Probabilities(pool, weights, picks);
        for (var i = 0; i < probabilities.Length; i++)
        {
            if (probabilities[i] >= 1 && picks.Fits(i))
            {
                Add(picks, i, 1);
            }
        }

        var order = Enumerable.Range(0, pool.Count).Where(i => probabilities[i] is > 0 and < 1);
        if (Shuffle)
        {
            order = order.OrderBy(i => run.Uniform("order", i));
        }

        // Numbers for positions are keyed by id; the one number for all may not depend on any.
        var (next, end) = (run.Random("start").NextDouble(), 0.0);
        foreach (var i in order)
        {
            end += probabilities[i];
            if (end > next)
            {
                next++;
                if (picks.Fits(i))
                {
                    Add(picks, i, probabilities[i]);
                }
            }
        }

        if (!picks.Full)
        {
            Fill(picks, run, weights, probabilities);
        }
    }

    private static double[] Probabilities(SelectionPool pool, double[] weights, Picks picks)
    {
        var lengths = picks.TokensLeft is null ? null : pool.Lengths;
        var caps = new double[weights.Length];
        var sizes = new double[weights.Length];
        for (var i = 0; i < weights.Length; i++)
        {
            caps[i] = lengths?[i] ?? 1;
            sizes[i] = weights[i] * caps[i];
        }

        var shares = CappedShares.Of(sizes, caps, picks.TokensLeft ?? picks.Room);
        for (var i = 0; i < shares.Length; i++)
        {
            shares[i] /= caps[i];
        }

        return shares;
    }

    /// <summary>Room that is left: tokens, or by rounding the last of k.</summary>
    private void Fill(Picks picks, Run run, double[] weights, double[] probabilities)
    {
        var keys = new double[weights.Length];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = Math.Log(weights[i]) - Math.Log(-Math.Log(run.Uniform("fill", i)));
        }

        foreach (var i in Relevance.Descending(keys))
        {
            if (weights[i] > 0 && picks.Fits(i))
            {
                Add(picks, i, probabilities[i]);
            }
        }
    }

    private void Add(Picks picks, int position, double probability) =>
        picks.Add(position, probability, InverseProbabilityWeights ? 1 / probability : 1);
}
