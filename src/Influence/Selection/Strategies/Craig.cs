using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// A coreset by gradient matching: picks S and weights so that sum_i min_{j in S} |g_i - g_j|, a bound of the error of the weighted sum of
/// the picks' gradients, is small. Facility location with the euclidean distance; a pick weighs as many candidates as are nearest to it.
/// Weights sum to N.
/// </summary>
/// <remarks>
/// <para>
/// Features are gradients, or what stands for them: for a classifier softmax(logits) - onehot(label), times the norm of the last
/// layer's input. Where the pool has groups (classes), each is a coreset of its own, and groups are picked in proportion to their
/// sizes; a group that gets no pick is counted for the nearest picks of the others.
/// </para>
/// <para>
/// Cost and exactness as for lazy <see cref="FacilityLocation"/>, group by group; the weights take n k d multiply-adds for k picks of a
/// group of n. Wrong once the model has moved on: the gradients are
/// those of one model. Mirzasoleiman, Bilmes and Leskovec, <i>Coresets for data-efficient training</i>, ICML 2020.
/// </para>
/// </remarks>
public sealed record Craig : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "CRAIG";

    /// <summary>Up to so many candidates of a group each is compared with each.</summary>
    /// <value>10,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int ExactUpTo
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10_000;

    /// <summary>Candidates in a cluster of a larger group, about; at most four times as many.</summary>
    /// <value>2,048.</value>
    /// <exception cref="InfluenceException">Less than 1, or more than 8,192.</exception>
    public int ClusterSize
    {
        get;
        init => field = Check.Between(value, 1, 8192);
    } = 2048;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return pool.Groups is null ? NeedsFeatures(pool) : [.. NeedsFeatures(pool), .. NeedsGroups(pool)];
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var scope = NewDisposeScope();
        using var similarities = new Similarities(pool.Features!, FeatureSimilarity.Euclidean);
        var groups = CandidateGroups.Of(pool);
        var most = pool.Lengths is null ? picks.Room : pool.Count;
        var sequences = groups
            .Select(group => CoverageGreedy.Sequence(new(similarities), group.Members, most, ExactUpTo, ClusterSize, Seed, run))
            .ToList();
        CandidateGroups.PickInProportion(sequences, [.. groups.Select(group => group.Members.Length)], picks);
        picks.Weigh(PickAssignment.Counts(similarities, picks.Positions, [.. groups.Select(group => group.Members)]));
    }
}
