namespace Influence.Selection;

/// <summary>The candidates with the highest scores, best first.</summary>
/// <remarks>
/// With several queries, a candidate's score is made one number by <see cref="Aggregation"/>. Under a budget in tokens, a
/// candidate that no longer fits is passed over. Cost: one sort.
/// </remarks>
public sealed record TopK : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "top-k";

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, SelectionRun run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        var relevance = Relevance.Of(pool, Aggregation);
        picks.AddInOrder(Relevance.Descending(relevance), relevance);
    }
}
