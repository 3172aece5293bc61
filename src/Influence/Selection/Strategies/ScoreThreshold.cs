using System.Globalization;

namespace Influence.Selection;

/// <summary>The candidates whose score is at least a given number, best first.</summary>
/// <remarks>
/// The budget is a ceiling: where more candidates pass than fit, the best are kept; where fewer pass, all of them and no
/// more, possibly none, and a note says how many passed. To let the threshold alone decide, give
/// <c>SelectionBudget.Fraction(1)</c>. Wrong where the scale of the scores is not known beforehand: influence has the scale
/// of its loss and damping, so take <see cref="QuantileWindow"/> there. Cost: one sort.
/// </remarks>
public sealed record ScoreThreshold : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "threshold";

    /// <summary>The lowest score that is kept, in the scores' unit.</summary>
    /// <value>0: candidates that help.</value>
    /// <exception cref="InfluenceException">Not a finite number.</exception>
    public double Minimum
    {
        get;
        init => field = Check.Finite(value);
    }

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <inheritdoc/>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var relevance = Relevance.Of(pool, Aggregation);
        var passed = relevance.Count(score => score >= Minimum);
        picks.AddInOrder(Relevance.Descending(relevance).Take(passed), relevance);
        run.Note(
            string.Create(CultureInfo.InvariantCulture, $"{passed:N0} of {pool.Count:N0} candidates have a score of at least {Minimum:G6}.")
        );
    }
}
