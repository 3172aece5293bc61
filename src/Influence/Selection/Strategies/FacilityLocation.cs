namespace Influence.Selection;

/// <summary>
/// Candidates that stand for all: greedily maximises F(S) = sum_i max_{j in S} s(i, j) over the pool, with a similarity
/// s >= 0. Each pick's weight is the number of candidates whose most similar pick it is; weights sum to N.
/// </summary>
/// <remarks>
/// <para>
/// Lazy greedy equals plain greedy. With a budget in examples it reaches at least 1 - 1/e of the best value; with one in tokens
/// no such bound holds, since gains are not weighed against lengths. Up to <see cref="ExactUpTo"/> candidates it
/// is exact: N^2 d multiply-adds, memory N^2 float32 up to 10,000 candidates and blocks beyond. In larger pools similarities
/// count only within k-means clusters of about <see cref="ClusterSize"/> candidates: greedy is exact for that objective, which
/// is never above F; N <see cref="ClusterSize"/> d multiply-adds, whatever the budget. Under a budget in tokens, a candidate
/// that is passed over there still counts as covering its cluster.
/// </para>
/// <para>
/// Stochastic greedy looks at (N / k) ln(1 / <see cref="Epsilon"/>) random candidates for each pick and measures gains on
/// <see cref="ReferencePoints"/> random points, times N / reference points: N ln(1 / epsilon) reference points d multiply-adds.
/// With as many picks as reference points nothing is left to gain: keep the budget well below.
/// </para>
/// <para>Wrong where outliers are noise: rare points are covered too. Nemhauser, Wolsey and Fisher 1978; Lin and Bilmes 2011.</para>
/// </remarks>
public sealed record FacilityLocation : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "facility location";

    /// <summary>How alike two candidates are.</summary>
    /// <value>Cosine.</value>
    public FeatureSimilarity Similarity { get; init; }

    /// <summary>How the best candidate is looked for.</summary>
    /// <value>Automatic.</value>
    public Kind Method { get; init; }

    /// <summary>Up to so many candidates each is compared with each. At 100,000 and a tenth picked, lazy greedy takes many
    /// minutes.</summary>
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

    /// <summary>Points on which stochastic greedy measures gains; as many as the pool has, or more: exact gains.</summary>
    /// <value>8,192.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int ReferencePoints
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 8192;

    /// <summary>What stochastic greedy may lose, as a share of the best value.</summary>
    /// <value>0.1.</value>
    /// <exception cref="InfluenceException">Not between 0 and 1.</exception>
    public double Epsilon
    {
        get;
        init => field = Check.InsideUnit(value);
    } = 0.1;

    /// <summary>Whether picks weigh as many candidates as they stand for; else 1.</summary>
    /// <value>True.</value>
    public bool Weighted { get; init; } = true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsFeatures(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var similarities = new Similarities(pool.Features!, Similarity);
        int[] all = [.. Enumerable.Range(0, pool.Count)];
        IReadOnlyList<int[]> clusters = [all];
        if (Method == Kind.Stochastic || (Method == Kind.Automatic && pool.Count > ExactUpTo && 4L * picks.Room <= ReferencePoints))
        {
            if (ReferencePoints < pool.Count)
            {
                run.Note($"Gains were measured on {ReferencePoints:N0} reference points.");
            }

            StochasticGreedy.Run(similarities, picks, run, ReferencePoints, Epsilon);
        }
        else if (pool.Count <= ExactUpTo)
        {
            CoverageGreedy.Exact(new(similarities), picks, run, all);
        }
        else
        {
            clusters = CandidateClusters.Of(similarities.Points, ClusterSize, Seed, run.CancellationToken);
            run.Note($"Similarities count within {clusters.Count:N0} clusters only.");
            CoverageGreedy.Clustered(new(similarities), picks, run, clusters, pool.Lengths is not null);
        }

        if (Weighted)
        {
            picks.Weigh(PickAssignment.Counts(similarities, picks.Positions, clusters));
        }
    }

    /// <summary>How <see cref="FacilityLocation"/> looks for the best candidate.</summary>
    public enum Kind
    {
        /// <summary>
        /// Lazy up to <see cref="FacilityLocation.ExactUpTo"/> candidates; beyond, stochastic where the reference points are at least
        /// four times the budget, else lazy in clusters.
        /// </summary>
        Automatic,

        /// <summary>Lazy greedy: exact up to <see cref="FacilityLocation.ExactUpTo"/> candidates; beyond, similarities count within
        /// clusters only.</summary>
        Lazy,

        /// <summary>Stochastic greedy on reference points.</summary>
        Stochastic,
    }
}
