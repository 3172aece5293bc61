namespace Influence.Selection;

/// <summary>The candidates with the highest scores, best first.</summary>
/// <remarks>
/// With several queries, a candidate's score is made one number by <see cref="Aggregation"/>. Under a budget in tokens, a
/// candidate that no longer fits is passed over; where scores are sums over an example's tokens, set <see cref="PerToken"/>.
/// Cost: one sort.
/// </remarks>
public sealed record TopK : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "top-k";

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <summary>
    /// Whether candidates are ranked by score / length, the score of a token, and utilities are that. For scores that are sums over
    /// an example's tokens, under a budget in tokens: the greedy rule for the knapsack (Dantzig 1957). Where no score is negative, the
    /// sum of the picks' scores misses the best by less than the highest score. Scores that are means over tokens are per token
    /// already. Needs <see cref="SelectionPool.Lengths"/>.
    /// </summary>
    /// <value>False.</value>
    public bool PerToken { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return PerToken && pool.Lengths is null
            ?
            [
                .. NeedsScores(pool),
                $"{Name} per token divides scores by the candidates' lengths: new SelectionPool(...) {{ Lengths = "
                    + "... }, or leave PerToken out.",
            ]
            : NeedsScores(pool);
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        var relevance = Relevance.Of(pool, Aggregation);
        for (var i = 0; PerToken && i < relevance.Length; i++)
        {
            relevance[i] /= pool.Lengths![i];
        }

        picks.AddInOrder(Relevance.Descending(relevance), relevance);
    }
}
