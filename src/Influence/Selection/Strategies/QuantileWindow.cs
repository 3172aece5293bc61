using System.Globalization;

namespace Influence.Selection;

/// <summary>
/// The candidates whose score lies between two quantiles: neither the weakest nor, with <see cref="To"/> below 1, the
/// strongest, which are often outliers or mislabelled ("Goldilocks").
/// </summary>
/// <remarks>
/// With the N candidates in ascending order, the one in place r = 0, 1, ... is at quantile (r + 1/2) / N; the window keeps
/// those from <see cref="From"/> to <see cref="To"/>, both ends included. Among equal scores the lowest id counts as the
/// highest. The budget is a ceiling: of a window with more candidates the best are kept; of one with fewer, all, and a note
/// says how many there were. Cost: one sort.
/// </remarks>
public sealed record QuantileWindow : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "quantile window";

    /// <summary>The lower quantile.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Outside of 0 to 1.</exception>
    public double From
    {
        get;
        init => field = Check.Share(value);
    }

    /// <summary>The upper quantile.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Outside of 0 to 1.</exception>
    public double To
    {
        get;
        init => field = Check.Share(value);
    } = 1;

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <inheritdoc/>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) =>
        From < To
            ? NeedsScores(pool)
            : [string.Create(CultureInfo.InvariantCulture, $"From lies below To; found {From} and {To}."), .. NeedsScores(pool)];

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var relevance = Relevance.Of(pool, Aggregation);
        var inside = Relevance.Descending(relevance).Where((_, place) => Within(pool.Count - 1 - place, pool.Count)).ToArray();
        picks.AddInOrder(inside, relevance);
        run.Note(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{inside.Length:N0} of {pool.Count:N0} candidates lie between the quantiles {From:0.####} and {To:0.####}."
            )
        );
    }

    private bool Within(int place, int count)
    {
        var quantile = (place + 0.5) / count;
        return quantile >= From && quantile <= To;
    }
}
