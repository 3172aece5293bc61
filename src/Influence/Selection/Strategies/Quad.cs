using System.Globalization;

namespace Influence.Selection;

/// <summary>
/// Quad: clusters of candidates as the arms of a bandit, with influence measured only where an arm is pulled, so that most of
/// the pool is never scored. A pull measures a few members; their mean is the reward. The arms pulled next have the highest
/// mean / sigma + alpha sqrt(2 ln(sum of T) / T), with T an arm's pulls; where the reward is above a threshold, members of the
/// cluster are taken, mostly unmeasured ones.
/// </summary>
/// <remarks>
/// <para>
/// Each arm is pulled once before anything is taken. Rewards are divided by the spread of the arms' means, so that
/// <see cref="Exploration"/> is of the order of 1 whatever the scores' unit (the published code gives alpha in that unit).
/// Neighbours within <see cref="NeighbourDistance"/> share a reward with the weight 1 - d / distance. Exhausted clusters leave.
/// Measured members at or below the threshold are passed over, as the published code does not. What is missing after the last
/// round goes to the highest worth, a measured member's score or else its cluster's mean, and a note says how many. Notes say the
/// share of the pool that was measured.
/// </para>
/// <para>
/// A pick's utility is its score where it was measured, and its cluster's mean reward otherwise. Cost: k-means, then clusters
/// x probes measured at the start and arms x probes a round, until <see cref="MaximumMeasured"/> of the pool is. It can do no better than
/// clusters tell good from bad: where good and bad data lie in the same cluster (mislabelled examples, for instance, by features that know
/// no label), the unmeasured ones are taken alike. Zhang et al., Harnessing diversity for important data selection in pretraining LLMs,
/// ICLR 2025.
/// </para>
/// </remarks>
public sealed record Quad : SelectionStrategy
{
    private const int MostClusters = 10_000;

    /// <inheritdoc/>
    public override string Name => "Quad";

    /// <summary>Measures candidates: ids in, one finite score for each out, the higher the better.</summary>
    public required Func<IReadOnlyList<long>, IReadOnlyList<double>> Oracle { get; init; }

    /// <summary>k of k-means on the pool's features; null: the pool's groups, and where it has none the root of N, at most
    /// 10,000.</summary>
    /// <value>null.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? Clusters
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>alpha: how much an arm that was seldom pulled is preferred, in spreads of the arms' means.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Exploration
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>m: arms pulled a round; null: a twentieth of the clusters, at most 50.</summary>
    /// <value>null.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? ArmsPerRound
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>Members measured at a pull.</summary>
    /// <value>10, as published.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Probes
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10;

    /// <summary>The share of the pool that may be measured; each cluster's first probes are, whatever it says.</summary>
    /// <value>A quarter.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double MaximumMeasured
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.25;

    /// <summary>Members taken at an accepted pull; null: a sixteenth of the budget, shared by a round's arms, but at least
    /// <see cref="Probes"/>.</summary>
    /// <value>null.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? TakePerPull
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>tau: a pull is accepted where its reward is above this, in the scores' unit.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">NaN.</exception>
    public double Threshold
    {
        get;
        init => field = !double.IsNaN(value) ? value : throw new InfluenceException("Threshold is a number; found NaN.");
    }

    /// <summary>Clusters nearer than this cosine distance share rewards; 0: none do. Needs features.</summary>
    /// <value>0.2, as published.</value>
    /// <exception cref="InfluenceException">Not in 0 to 2.</exception>
    public double NeighbourDistance
    {
        get;
        init => field = Check.Between(value, 0.0, 2.0);
    } = 0.2;

    /// <summary>At most so many rounds; what is missing then is taken from the clusters with the highest means.</summary>
    /// <value>200, as published.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int MaximumRounds
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 200;

    /// <summary>The settings.</summary>
    /// <returns>The settings in words.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"Quad {{ Seed = {Seed}, Clusters = {Clusters}, Exploration = {Exploration}, ArmsPerRound = {ArmsPerRound}, Probes = {Probes}, "
                + $"MaximumMeasured = {MaximumMeasured}, TakePerPull = {TakePerPull}, Threshold = {Threshold}, NeighbourDistance = "
                + $"{NeighbourDistance}, MaximumRounds = {MaximumRounds} }}"
        );

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return Oracle is null
            ? PoolClusters.Problems(Name, pool, Clusters).Prepend("Quad measures influence by an Oracle: new Quad { Oracle = ids => ... }.")
            : PoolClusters.Problems(Name, pool, Clusters);
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var clusters = PoolClusters.Of(pool, Clusters, MostClusters, Seed, run.CancellationToken);
        var neighbours = clusters.Neighbours(NeighbourDistance);
        QuadArm[] arms =
        [
            .. clusters.Members.Select(members => new QuadArm([
                .. members.OrderBy(i => run.Uniform("order in the cluster", i)).ThenBy(i => i),
            ])),
        ];
        var bandit = new UpperConfidenceBandit(arms.Length, Exploration);
        var perRound = Math.Min(arms.Length, ArmsPerRound ?? Math.Clamp(arms.Length / 20, 1, 50));
        var take = TakePerPull ?? Math.Max(Probes, picks.Room / (16 * perRound));
        var measured = 0L;

        foreach (var chunk in Enumerable.Range(0, arms.Length).Chunk(perRound))
        {
            Pull(chunk, null);
            run.Report(chunk[^1] + 1, arms.Length + MaximumRounds);
        }

        var round = 0;
        for (
            ;
            round < MaximumRounds && !picks.Full && !bandit.Empty && measured + (perRound * Probes) <= MaximumMeasured * pool.Count;
            round++
        )
        {
            Pull(bandit.Top(perRound), picks);
            run.Report(arms.Length + round + 1, arms.Length + MaximumRounds);
        }

        var accepted = picks.Count;
        Fill(arms, bandit, picks);
        run.Note(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{measured} of {pool.Count} candidates were measured "
                    + $"({(double)measured / pool.Count:P1}), in {arms.Length} clusters and {round} rounds."
            )
        );
        if (picks.Count > accepted)
        {
            run.Note(
                $"{picks.Count - accepted} picks were made after the last round: by their score where it was measured, else by their "
                    + $"cluster's mean."
            );
        }

        void Pull(int[] pulled, Picks? taking)
        {
            var probes = Array.ConvertAll(pulled, arm => arms[arm].Probe(Probes));
            var scores = Measure([.. probes.SelectMany(p => p).Select(p => pool.Ids[p])]);
            measured += scores.Count;
            var offset = 0;
            for (var i = 0; i < pulled.Length; i++)
            {
                var (arm, mean) = (pulled[i], bandit.Mean(pulled[i]));
                if (probes[i].Count > 0)
                {
                    for (var p = 0; p < probes[i].Count; p++)
                    {
                        arms[arm].Measured(probes[i][p], scores[offset + p], Threshold);
                    }

                    mean = scores.Skip(offset).Take(probes[i].Count).Average();
                    offset += probes[i].Count;
                    bandit.Pull(arm, mean);
                    foreach (var (other, distance) in neighbours[arm])
                    {
                        bandit.Share(other, mean, 1 - (distance / NeighbourDistance));
                    }
                }

                if (taking is not null && mean > Threshold)
                {
                    arms[arm].Take(taking, take, bandit.Mean(arm));
                }

                // An arm whose members were all measured has nothing to learn; what is good in it is taken while its mean is.
                if (arms[arm].Exhausted || (taking is not null && probes[i].Count == 0 && mean <= Threshold))
                {
                    bandit.Remove(arm);
                }
            }
        }
    }

    private static void Fill(QuadArm[] arms, UpperConfidenceBandit bandit, Picks picks)
    {
        // Within a cluster the order of the sort is that of the draw: unmeasured members are worth the same.
        foreach (var (position, worth) in arms.SelectMany((arm, i) => arm.Rest(bandit.Mean(i))).OrderByDescending(member => member.Worth))
        {
            if (picks.Full)
            {
                return;
            }

            if (picks.Fits(position))
            {
                picks.Add(position, worth);
            }
        }
    }

    private IReadOnlyList<double> Measure(IReadOnlyList<long> ids)
    {
        if (ids.Count == 0)
        {
            return [];
        }

        var scores = Oracle(ids);
        if (scores is null || scores.Count != ids.Count)
        {
            throw new InfluenceException(
                $"The oracle was asked for {ids.Count} scores and gave {scores?.Count ?? 0}: one for each id, in "
                    + "their order, is expected."
            );
        }

        var bad = ids.Where((_, i) => !double.IsFinite(scores[i])).ToList();
        return bad.Count == 0
            ? scores
            : throw new InfluenceException($"The oracle's scores of the ids {InfluenceException.List(bad)} are not finite.")
            {
                ExampleIds = bad,
            };
    }
}
