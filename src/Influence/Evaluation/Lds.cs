using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// The linear datamodeling score: how well summed scores rank retrained models,
/// <c>LDS(q) = Spearman_j(-f_q(S_j), sum over i in S_j of s(i, q))</c>, with f the mean loss over the subset's runs.
/// 1 is a perfect ranking, 0 what random scores reach, give or take 1/sqrt(M - 1) for each query.
/// </summary>
/// <remarks>
/// Park et al., 2023 (TRAK), section 2. Scores are those of models trained on all examples. Figures for another share of the
/// subsets do not compare. Ties share their mean rank. A query whose runs all measured the same has no ranking: it is left
/// out and counted.
/// </remarks>
public sealed partial record Lds
{
    private const int MaximumSplits = 10;

    /// <summary>How intervals are made: over queries and subsets, both drawn again.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Judges scores by runs; both are joined by id.</summary>
    /// <param name="scores">Scores of every training example of the runs; its queries may be some of the runs'.</param>
    /// <param name="runs">Runs on at least three subsets.</param>
    /// <returns>The score of each query and their mean.</returns>
    /// <exception cref="InfluenceException">Ids that do not meet, or no query that can be judged.</exception>
    public Result Evaluate(InfluenceScores scores, Retraining.Result runs)
    {
        var predictions = SubsetPredictions.Rewards(scores, runs);
        if (predictions.Columns.Count == 0)
        {
            throw DroppedQueries.NoneLeft(predictions.Dropped);
        }

        var study = new CorrelationStudy(predictions.Columns, Agreement.Spearman, Bootstrap);
        return new Result(
            scores.Metadata.Estimator,
            runs,
            [.. predictions.QueryIds.Select((id, c) => (id, study.Column(c, Bootstrap)))],
            Bootstrap.Interval(study.Mean, study.ResampledMeans),
            Bootstrap.Interval(study.Mean, study.ResampledQueryMeans),
            predictions.Dropped,
            Ceiling(runs, predictions.QueryIds)
        );
    }

    /// <summary>
    /// What the runs' own noise leaves to reach: the agreement of two halves of the seeds, and what it says about all of them.
    /// </summary>
    /// <param name="runs">Runs with at least two seeds a subset.</param>
    /// <param name="queryIds">The queries to judge by; unless given, all.</param>
    /// <returns>The ceiling; null for runs with one seed.</returns>
    public NoiseCeiling? Ceiling(Retraining.Result runs, IReadOnlyList<long>? queryIds = null)
    {
        ArgumentNullException.ThrowIfNull(runs);
        return Ceiling(runs, queryIds, _ => true);
    }

    /// <summary>The same over some of the subsets.</summary>
    internal NoiseCeiling? Ceiling(Retraining.Result runs, IReadOnlyList<long>? queryIds, Func<TrainingSubset, bool> which)
    {
        int[] rows = [.. Enumerable.Range(0, runs.Subsets.Count).Where(j => which(runs.Subsets[j]))];
        long[] seeds = [.. runs.Seeds.Distinct()];
        if (seeds.Length < 2)
        {
            return null;
        }

        var wanted = (queryIds ?? runs.QueryIds).ToHashSet();
        var (agreement, meanCount) = (0.0, 0);
        var resampled = new double[Bootstrap.Resamples];
        foreach (var half in Splits(seeds))
        {
            var (a, b) = (runs.Means(half.Contains), runs.Means(seed => !half.Contains(seed)));
            var columns = Enumerable
                .Range(0, runs.QueryIds.Count)
                .Where(c => wanted.Contains(runs.QueryIds[c]))
                .Select(c => (A: rows.Select(j => a[j][c]).ToArray(), B: rows.Select(j => b[j][c]).ToArray()))
                .Where(c => Varies(c.A) && Varies(c.B))
                .Select(c => new PairedColumn(c.A, c.B))
                .ToList();
            if (columns.Count == 0)
            {
                return null;
            }

            var study = new CorrelationStudy(columns, Agreement.Spearman, Bootstrap);
            (agreement, meanCount) = (agreement + study.Mean, meanCount + 1);
            for (var r = 0; r < resampled.Length; r++)
            {
                resampled[r] += study.ResampledMeans[r];
            }
        }

        for (var r = 0; r < resampled.Length; r++)
        {
            resampled[r] /= meanCount;
        }

        // Spearman and Brown: the mean of k times as many runs has reliability k r / (1 + (k - 1) r); here halves of S / 2
        // become S (for an odd S the halves are a little uneven). Its root is the correlation with what is without noise.
        agreement /= meanCount;
        return new NoiseCeiling(
            Bootstrap.Interval(agreement, resampled),
            Bootstrap.Interval(Attained(agreement), resampled.Select(Attained))
        );

        static double Attained(double r) => r <= 0 ? 0 : Math.Sqrt(2 * r / (1 + r));
        static bool Varies(double[] values) => values.All(double.IsFinite) && values.Any(v => !v.Equals(values[0]));
    }

    /// <summary>Ways to halve the seeds: all of them where there are few, else random ones.</summary>
    private List<HashSet<long>> Splits(long[] seeds)
    {
        var splits = new List<HashSet<long>>();
        var seen = new HashSet<string>();
        for (var attempt = 0; attempt < 20 * MaximumSplits && splits.Count < MaximumSplits; attempt++)
        {
            var order = new KeyedRandom(Bootstrap.Seed, "seed splits", attempt).Order(seeds.Length);
            var half = order.Take(seeds.Length / 2).Select(i => seeds[i]).ToHashSet();

            // A half and its complement are one split.
            var other = seeds.Where(s => !half.Contains(s)).ToHashSet();
            if (seen.Add(string.Join(',', (half.Count == other.Count && other.Contains(seeds[0]) ? other : half).Order())))
            {
                splits.Add(half);
            }
        }

        return splits;
    }
}
