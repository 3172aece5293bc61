using System.Globalization;

namespace Influence.Selection;

/// <summary>
/// Diversify and Conquer: the budget in R rounds over clusters. The first round takes equally from each cluster, at random
/// and without replacement. The caller then trains briefly on what was selected and rewards each pick of the round, for
/// instance by how much better its own answer is than the model's; a cluster's weight is multiplied by exp(mean reward /
/// temperature) and the weights are normalised; the next round is drawn from the clusters by weight.
/// </summary>
/// <remarks>
/// It follows the paper where the published code differs (the code draws budget / R^2 in later rounds, and replaces the
/// weights). What flooring loses in the first round goes to clusters in random order, what an exhausted cluster cannot give to
/// the others; a cluster without picks in a round counts with the mean reward of those that had some. Constant rewards leave
/// the weights as they are. A pick's utility is its cluster's weight. Under a budget in tokens, rounds have equal numbers of
/// tokens. The last round is not rewarded. Cost: k-means and R - 1 trainings, which are the caller's. Wrong where the reward
/// says more of how hard an example is than of what training on its like would bring. Yu et al., Diversify and Conquer, 2024.
/// </remarks>
public sealed record DiversifyAndConquer : SelectionStrategy
{
    private const int MostClusters = 512;

    /// <inheritdoc/>
    public override string Name => "Diversify and Conquer";

    /// <summary>Rewards a round's picks: one finite number for each of <see cref="DiversifyAndConquer.Row.Added"/>, the higher the more of
    /// its like is wanted.</summary>
    public required Func<Row, IReadOnlyList<double>> Reward { get; init; }

    /// <summary>k of k-means on the pool's features; null: the pool's groups, and where it has none the root of N, at most 512.</summary>
    /// <value>null.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? Clusters
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>R.</summary>
    /// <value>3, as published.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Rounds
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>The unit in which rewards count: a cluster rewarded by so much more than another gains e-fold on it a round.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Not a positive number.</exception>
    public double Temperature
    {
        get;
        init => field = Check.Positive(value);
    } = 1;

    /// <summary>The settings.</summary>
    /// <returns>The settings in words.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"DiversifyAndConquer {{ Seed = {Seed}, Clusters = {Clusters}, Rounds = {Rounds}, Temperature = {Temperature} }}"
        );

    /// <summary>The weights after a round; NaN for a cluster without picks.</summary>
    internal static double[] Reweighted(double[] weights, double[] rewards, double temperature)
    {
        var known = rewards.Where(r => !double.IsNaN(r)).ToList();
        var mean = known.Count == 0 ? 0 : known.Average();
        var highest = known.Count == 0 ? 0 : known.Max();
        var scaled = weights.Zip(rewards, (w, r) => w * Math.Exp(((double.IsNaN(r) ? mean : r) - highest) / temperature)).ToArray();
        var sum = scaled.Sum();
        return Array.ConvertAll(scaled, w => w / sum);
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return Reward is null
            ? PoolClusters
                .Problems(Name, pool, Clusters)
                .Prepend("Diversify and Conquer needs a Reward: new DiversifyAndConquer { Reward = round => ... }.")
            : PoolClusters.Problems(Name, pool, Clusters);
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var found = PoolClusters.Of(pool, Clusters, MostClusters, Seed, run.CancellationToken);
        Stack<int>[] clusters =
        [
            .. found.Members.Select(m => new Stack<int>(m.OrderBy(i => run.Uniform("order in the cluster", i)).ThenBy(i => i))),
        ];
        var of = new int[pool.Count];
        for (var c = 0; c < clusters.Length; c++)
        {
            foreach (var position in clusters[c])
            {
                of[position] = c;
            }
        }

        var weights = Enumerable.Repeat(1.0 / clusters.Length, clusters.Length).ToArray();
        var random = run.Random("draws of clusters");
        for (var round = 1; round <= Rounds && !picks.Full; round++)
        {
            var (before, quota) = (picks.Count, picks.Left / (Rounds - round + 1));
            var end = picks.Left - quota;
            if (round == 1)
            {
                InTurns(clusters, weights, picks, end, random);
            }
            else
            {
                ByWeight(clusters, weights, picks, end, random);
            }

            run.Report(round, Rounds);
            if (round < Rounds && !picks.Full && picks.Count > before)
            {
                weights = Reweighted(weights, ClusterRewards(pool, picks, before, of, clusters.Length, round), Temperature);
            }
        }
    }

    private static void InTurns(Stack<int>[] clusters, double[] weights, Picks picks, long end, Random random)
    {
        var order = Enumerable.Range(0, clusters.Length).ToArray();
        random.Shuffle(order);
        while (picks.Left > end && !picks.Full && Array.Exists(clusters, c => c.Count > 0))
        {
            foreach (var cluster in order)
            {
                if (picks.Left > end && clusters[cluster].TryPop(out var position) && picks.Fits(position))
                {
                    picks.Add(position, weights[cluster]);
                }
            }
        }
    }

    private static void ByWeight(Stack<int>[] clusters, double[] weights, Picks picks, long end, Random random)
    {
        while (picks.Left > end && !picks.Full)
        {
            // Drawn until a cluster is exhausted; what it cannot give goes to the others by their weights.
            var left = Enumerable.Range(0, clusters.Length).Where(c => clusters[c].Count > 0).ToArray();
            if (left.Length == 0)
            {
                return;
            }

            var cumulative = new double[left.Length];
            for (var (i, sum) = (0, 0.0); i < left.Length; i++)
            {
                cumulative[i] = sum += weights[left[i]];
            }

            for (var exhausted = false; !exhausted && picks.Left > end && !picks.Full; )
            {
                // Weights that vanished together leave the clusters equal.
                var drawn =
                    cumulative[^1] > 0 ? Array.BinarySearch(cumulative, random.NextDouble() * cumulative[^1]) : random.Next(left.Length);
                var cluster = left[Math.Min(left.Length - 1, drawn < 0 ? ~drawn : drawn)];
                if (clusters[cluster].TryPop(out var position) && picks.Fits(position))
                {
                    picks.Add(position, weights[cluster]);
                }

                exhausted = clusters[cluster].Count == 0;
            }
        }
    }

    private double[] ClusterRewards(SelectionPool pool, Picks picks, int before, int[] of, int clusters, int round)
    {
        long[] selected = [.. picks.Positions.Select(p => pool.Ids[p])];
        var added = selected[before..];
        var rewards = Reward(new Row(round, selected, added));
        if (rewards is null || rewards.Count != added.Length || rewards.Any(r => !double.IsFinite(r)))
        {
            throw new InfluenceException(
                $"One finite reward for each of the {added.Length} ids in Added is expected; found "
                    + $"{rewards?.Count ?? 0}, of which {rewards?.Count(r => !double.IsFinite(r)) ?? 0} are not finite."
            );
        }

        var (sums, counts) = (new double[clusters], new int[clusters]);
        for (var i = 0; i < added.Length; i++)
        {
            var cluster = of[picks.Positions[before + i]];
            sums[cluster] += rewards[i];
            counts[cluster]++;
        }

        return [.. sums.Zip(counts, (sum, count) => count == 0 ? double.NaN : sum / count)];
    }

    /// <summary>What a round of <see cref="DiversifyAndConquer"/> asks to be rewarded.</summary>
    /// <param name="Round">From 1.</param>
    /// <param name="Selected">Everything selected so far, this round's picks included: what to train on.</param>
    /// <param name="Added">This round's picks: what to reward.</param>
    public sealed record Row(int Round, IReadOnlyList<long> Selected, IReadOnlyList<long> Added);
}
