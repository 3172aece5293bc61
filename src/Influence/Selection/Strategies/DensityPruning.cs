using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Density-based pruning: dense clusters that lie close to others give less. With d_inter the mean cosine distance of a
/// cluster's centroid to the nearest others and d_intra the mean cosine distance of its members to it, C = d_inter d_intra and
/// P = softmax(C / tau); cluster sizes are the nearest to budget x P (least squares) with that sum, within lower bounds and
/// what each cluster has. Inside a cluster, the hardest or the easiest first.
/// </summary>
/// <remarks>
/// The sizes are a projection onto a bounded simplex, found by bisection and rounded by largest remainders, so that they sum
/// to the budget (the published code rounds each, and can miss it). Under a budget in tokens sizes are in tokens, and what is
/// left after passing over goes to whoever is next. C is small: at tau = 0.5, P is close to uniform. A pick's utility is its
/// distance to its centroid, or its negative for the easiest. It reads no scores, and keeps outliers. Cost: k-means and
/// K^2 d. Abbas et al., Effective pruning of web-scale datasets based on complexity of concept clusters, ICLR 2024.
/// </remarks>
public sealed record DensityPruning : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "density-based pruning";

    /// <summary>k of k-means; null: the root of N, at most 1,000.</summary>
    /// <value>null.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? Clusters
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>tau.</summary>
    /// <value>0.5, as published.</value>
    /// <exception cref="InfluenceException">Not a positive number.</exception>
    public double Temperature
    {
        get;
        init => field = Check.Positive(value);
    } = 0.5;

    /// <summary>How many of the nearest centroids count for d_inter.</summary>
    /// <value>20, as published.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int NearestCentroids
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 20;

    /// <summary>A cluster's least size, in examples or tokens; lowered where a cluster has no more than that, and where the budget is too
    /// small for all.</summary>
    /// <value>1, as published.</value>
    /// <exception cref="InfluenceException">Negative.</exception>
    public int LeastOfACluster
    {
        get;
        init => field = Check.AtLeast(value, 0);
    } = 1;

    /// <summary>Which of a cluster's members are kept.</summary>
    /// <value><see cref="SslPrototypes.Order.Hardest"/>.</value>
    public SslPrototypes.Order Keep { get; init; }

    /// <summary>Sizes of clusters from their complexity.</summary>
    /// <param name="complexity">C.</param>
    /// <param name="capacity">What each cluster has.</param>
    /// <param name="budget">What the sizes sum to.</param>
    internal long[] Sizes(double[] complexity, long[] capacity, long budget)
    {
        var highest = complexity.Max();
        var weights = Array.ConvertAll(complexity, c => Math.Exp((c - highest) / Temperature));
        var sum = weights.Sum();
        var lower = Array.ConvertAll(capacity, m => (double)Math.Max(0, Math.Min(LeastOfACluster, m - 1)));
        if (lower.Sum() > budget)
        {
            lower = new double[capacity.Length];
        }

        return BoundedSimplex.LargestRemainder(
            BoundedSimplex.Project(
                Array.ConvertAll(weights, w => budget * w / sum),
                lower,
                Array.ConvertAll(capacity, m => (double)m),
                budget
            )
        );
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsFeatures(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var prototypes = Prototypes.Of(
            pool,
            Clusters ?? Prototypes.Default(pool),
            FeatureDistance.Cosine,
            Seed,
            run.CancellationToken
        );
        var left = Sizes(
            Complexity(prototypes),
            [.. prototypes.Members.Select(members => members.Sum(picks.Size))],
            Math.Min(picks.Left, Enumerable.Range(0, pool.Count).Sum(picks.Size))
        );
        var worth = Keep == SslPrototypes.Order.Hardest ? prototypes.Distances : Array.ConvertAll(prototypes.Distances, d => -d);
        var order = Relevance.Descending(worth);
        foreach (var position in order)
        {
            var cluster = prototypes.Assignment[position];
            if (picks.Size(position) <= left[cluster] && picks.Fits(position))
            {
                left[cluster] -= picks.Size(position);
                picks.Add(position, worth[position]);
            }
        }

        picks.AddInOrder(order, worth);
    }

    /// <summary>C by cluster; 0 for one that has no other.</summary>
    private double[] Complexity(Prototypes prototypes)
    {
        using var scope = NewDisposeScope();
        var count = prototypes.Members.Count;
        var inter = new double[count];
        var nearest = Math.Min(NearestCentroids, count - 1);
        if (nearest > 0)
        {
            var distances = Kept(1) - prototypes.Centroids.mm(prototypes.Centroids.t()); // [K, K]
            // The smallest is a centroid's distance to itself.
            var (values, _) = distances.topk(nearest + 1, 1, largest: false); // [K, nearest + 1]
            inter = FeatureBlocks.ToDoubles(values.narrow(1, 1, nearest).mean([1L], type: ScalarType.Float64));
        }

        return [.. prototypes.Members.Select((members, c) => Math.Max(0, inter[c]) * members.Average(i => prototypes.Distances[i]))];
    }
}
