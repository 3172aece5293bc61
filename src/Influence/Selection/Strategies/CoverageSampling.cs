using System.Globalization;

namespace Influence.Selection;

/// <summary>
/// Stratified sampling over the range of the scores (coverage-centric selection, CCS): the hardest candidates are left out, the
/// scores of the others are cut into bins of equal width, and the budget goes to the bins, the smallest first:
/// <code>quota of a bin = min(its size, floor(budget left / bins left))</code>
/// with a random choice inside each. Rare scores are then all there, and no part of the range crowds out the others.
/// </summary>
/// <remarks>
/// <para>
/// High scores are the hard ones: the <see cref="HardestDropped"/> share of the candidates with the highest scores (rounded
/// down; ties to the lowest id) is left out, since the hardest are often mislabelled or outliers. Where the rest is less than the
/// budget all of it is picked, and a note says so. The utility of a pick is its score.
/// </para>
/// <para>
/// Under a budget in tokens sizes and quotas are in tokens. In each bin candidates are taken in a random order where they still
/// fit the quota; what is left goes to the next bin, and in the end to whatever still fits, in random order.
/// Cost: two sorts. References: Zheng, Liu, Lai, Prakash, "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023,
/// algorithm 1; used with <c>Dealrec</c>'s scores by Lin et al., SIGIR 2024.
/// </para>
/// </remarks>
public sealed record CoverageSampling : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "coverage-centric sampling";

    /// <summary>The number of bins.</summary>
    /// <value>50.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Bins
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 50;

    /// <summary>The share of the candidates that is left out beforehand, those of the highest scores.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Below 0, or 1 and more.</exception>
    public double HardestDropped
    {
        get;
        init => field = Check.ShareBelowOne(value);
    }

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <inheritdoc/>
    protected override bool MayPickFewer => HardestDropped > 0;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var scores = Relevance.Of(pool, Aggregation);
        var kept = Relevance.Descending(scores).Skip((int)Math.Floor((HardestDropped * pool.Count) + 1e-9)).Order().ToArray();
        var bins = ScoreBins.Of([.. kept.Select(position => scores[position])], Bins);
        var members = Enumerable.Range(0, kept.Length).ToLookup(i => bins[i], i => kept[i]);
        long[] sizes = [.. Enumerable.Range(0, Bins).Select(b => members[b].Sum(picks.Size))];
        var order = ScoreBins.Order(sizes);
        for (var served = 0; served < order.Length; served++)
        {
            var quota = Math.Min(sizes[order[served]], picks.Left / (order.Length - served));
            foreach (var position in Shuffled(members[order[served]], run))
            {
                if (picks.Size(position) <= quota && picks.Fits(position))
                {
                    quota -= picks.Size(position);
                    picks.Add(position, scores[position]);
                }
            }

            run.Report(served + 1, order.Length);
        }

        picks.AddInOrder(Shuffled(kept, run), scores);
        if (picks.Count == kept.Length && !picks.Full)
        {
            run.Note(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Without the {pool.Count - kept.Length:N0} hardest there are {kept.Length:N0} candidates, fewer than the "
                        + $"budget: all of them were picked."
                )
            );
        }
    }

    private static IEnumerable<int> Shuffled(IEnumerable<int> positions, Run run) =>
        positions.OrderBy(position => run.Uniform("coverage", position));
}
