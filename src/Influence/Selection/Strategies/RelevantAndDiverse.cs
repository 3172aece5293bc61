using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Relevant and unlike one another; the first choice for "the best tenth". Greedily maximises
/// sum over picks of r_i + beta (k / N) sum_i max(0, max over picks of cos(i, pick) - m_i).
/// </summary>
/// <remarks>
/// <para>
/// r is the score's rank from 0 to 1, and m_i the mean cosine between i and the pool: what any pick covers of i anyhow. Divided
/// by k, the objective is the mean relevance of the picks plus beta times how much better than by chance the pool is covered;
/// both lie between 0 and 1 or little above, whatever the scores' unit and the sizes, so beta means the same everywhere. It is monotone and
/// submodular: with a budget in examples greedy reaches at least 1 - 1/e of the best value; with one in tokens no such bound holds. A
/// pick's utility is its gain.
/// </para>
/// <para>
/// Features are normalised to unit length: projected gradients, preconditioned where that is at hand, or representations. Up to
/// <see cref="ExactUpTo"/> candidates each is compared with each (N^2 d multiply-adds and more). Beyond, candidates cover within
/// k-means clusters of about <see cref="ClusterSize"/> only, and greedy is exact for that objective: N <see cref="ClusterSize"/> d
/// multiply-adds. Under a budget in tokens, k is the largest number of examples that fit, and a candidate that is passed over in
/// a cluster still counts as covering it.
/// </para>
/// <para>
/// Wrong where scores are noise, or where features do not say what makes examples redundant. Facility location after Lin and
/// Bilmes, 2011; relevance and clusters as in Quad (Zhang et al., 2024), without its bandit.
/// </para>
/// </remarks>
public sealed record RelevantAndDiverse : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "relevant and diverse";

    /// <summary>The weight of coverage; 0: top-k.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Beta
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>How several queries' scores become one.</summary>
    /// <value>
    /// Null: <see cref="ScoreAggregation.MaxOverTasks"/> where the pool has tasks, so that a candidate that helps one of them much is
    /// not lost in the mean; else <see cref="ScoreAggregation.Mean"/>.
    /// </value>
    public ScoreAggregation? Aggregation { get; init; }

    /// <summary>Up to so many candidates each is compared with each; 100,000 is possible and takes many minutes.</summary>
    /// <value>10,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int ExactUpTo
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10_000;

    /// <summary>Candidates in a cluster, about; at most four times as many.</summary>
    /// <value>2,048.</value>
    /// <exception cref="InfluenceException">Less than 1, or more than 8,192.</exception>
    public int ClusterSize
    {
        get;
        init => field = Check.Between(value, 1, 8192);
    } = 2048;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) =>
        [.. NeedsScores(pool), .. NeedsFeatures(pool)];

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var similarities = new Similarities(pool.Features!, FeatureSimilarity.Cosine);
        var points = similarities.Points; // [N, d]
        // The similarity is (1 + cos) / 2: half of what the objective speaks of.
        var covered = points.mv(points.mean([0L])).add(Kept(1)).mul(Kept(0.5)).to_type(ScalarType.Float32).cpu().data<float>().ToArray();
        var objective = new CoverageObjective(
            similarities,
            2 * Beta * picks.Room / pool.Count,
            ScaledRelevance.Of(
                pool,
                Aggregation ?? (pool.Tasks is null ? ScoreAggregation.Mean : ScoreAggregation.MaxOverTasks),
                RelevanceScale.Rank
            ),
            covered
        );
        if (pool.Count <= ExactUpTo)
        {
            CoverageGreedy.Exact(objective, picks, run, [.. Enumerable.Range(0, pool.Count)]);
            return;
        }

        var clusters = CandidateClusters.Of(points, ClusterSize, Seed, run.CancellationToken);
        run.Note($"Candidates cover within {clusters.Count:N0} clusters only.");
        CoverageGreedy.Clustered(objective, picks, run, clusters, pool.Lengths is not null);
    }
}
