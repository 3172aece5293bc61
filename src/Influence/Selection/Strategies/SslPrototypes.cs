namespace Influence.Selection;

/// <summary>
/// Self-supervised prototypes: k-means on the features; a candidate's score is its distance to the centroid of its own
/// cluster. A large pool keeps the hardest, farthest first; a small one the easiest.
/// </summary>
/// <remarks>
/// A pick's utility is its distance, or its negative for the easiest. The share <see cref="Balance"/> of the budget is first
/// dealt to the pool's groups, equal parts each, and the rest goes to whoever is next. Wrong where the pool has outliers and
/// mislabelled examples: those are the hardest. It reads no scores. Cost: k-means. Sorscher et al., Beyond neural scaling
/// laws, NeurIPS 2022.
/// </remarks>
public sealed record SslPrototypes : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "SSL prototypes";

    /// <summary>Which are kept.</summary>
    /// <value><see cref="Order.Hardest"/>.</value>
    public Order Keep { get; init; }

    /// <summary>To the centroid.</summary>
    /// <value><see cref="FeatureDistance.Cosine"/>.</value>
    public FeatureDistance Distance { get; init; }

    /// <summary>k of k-means; null: the root of N, at most 1,000. The paper finds that it matters little.</summary>
    /// <value>null.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? Clusters
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>The share of the budget that is dealt to the pool's groups in equal parts; 0 needs no groups. The paper's floor is
    /// 0.5.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Not in 0 to 1.</exception>
    public double Balance
    {
        get;
        init => field = Check.Share(value);
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) =>
        Balance > 0 ? NeedsFeatures(pool).Concat(NeedsGroups(pool)) : NeedsFeatures(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var prototypes = Prototypes.Of(pool, Clusters ?? Prototypes.Default(pool), Distance, Seed, run.CancellationToken);
        var worth = Keep == Order.Hardest ? prototypes.Distances : Array.ConvertAll(prototypes.Distances, d => -d);
        var order = Relevance.Descending(worth);
        if (Balance > 0)
        {
            Deal(pool, picks, order, worth);
        }

        picks.AddInOrder(order, worth);
    }

    /// <summary>Groups that have fewer than their part give all; what they lack is left to the rest of the budget.</summary>
    private void Deal(SelectionPool pool, Picks picks, int[] order, double[] worth)
    {
        var groups = pool.Ids.Select(id => pool.Groups!.GroupsOf[id].Min(StringComparer.Ordinal)!).ToArray();
        var part = (long)Math.Floor(Balance * picks.Left / groups.Distinct().Count());
        var left = groups.Distinct().ToDictionary(group => group, _ => part);
        foreach (var position in order)
        {
            var group = groups[position];
            if (picks.Size(position) <= left[group] && picks.Fits(position))
            {
                left[group] -= picks.Size(position);
                picks.Add(position, worth[position]);
            }
        }
    }

    /// <summary>Which of a cluster's members are kept.</summary>
    public enum Order
    {
        /// <summary>The farthest from their centroid: the unusual ones, for a pool that is large for its task.</summary>
        Hardest,

        /// <summary>The nearest to their centroid: the typical ones, for a small or a noisy pool.</summary>
        Easiest,
    }
}
