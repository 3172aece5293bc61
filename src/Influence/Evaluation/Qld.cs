using System.Globalization;
using Influence.Display;
using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// The query loss difference: for each query its own strongest examples, 1 percent by score, are left out, the model is retrained with the
/// same seed, and the query's loss is compared, <c>QLD(q) = loss_q(without its top) - loss_q(all)</c>; beside as many random examples.
/// </summary>
/// <remarks>
/// Plan, run, evaluate: <c>var plan = qld.Plan(scores); var runs = retraining.Run(plan.Subsets, scores.QueryIds, train); qld.Evaluate(plan,
/// runs)</c>. Each query costs a retraining, each random draw one. Seeds are the harness's, the same for every subset, so that a difference
/// is not that of two initialisations; let the training function also keep the schedule and the places in the batches (weight 0 for what is
/// left out), as the differences of 1 percent are small. Several seeds are averaged first.
/// </remarks>
public sealed record Qld
{
    /// <summary>The share of the training examples that each query loses, rounded to whole examples, at least one.</summary>
    /// <value>0.01.</value>
    public double Share
    {
        get;
        init => field = Check.InsideUnit(value);
    } = 0.01;

    /// <summary>How many draws of as many random examples stand beside; every query is judged by each.</summary>
    /// <value>3.</value>
    public int RandomRepeats
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>Of the random examples.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>How intervals are made: over queries.</summary>
    /// <value>10,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new() { Resamples = 10_000 };

    /// <summary>The subsets to retrain on.</summary>
    /// <param name="scores">Scores of the queries to judge by, each of all training examples. Ties go to the lowest id.</param>
    /// <returns>The plan; the same scores and settings give the same.</returns>
    /// <exception cref="InfluenceException">Scores that are no numbers, or a share that leaves no example in.</exception>
    public Planned Plan(InfluenceScores scores)
    {
        ArgumentNullException.ThrowIfNull(scores);
        var count = Math.Max(1, (int)Math.Round(Share * scores.TrainIds.Count));
        if (count >= scores.TrainIds.Count)
        {
            throw new InfluenceException(
                $"A share of {Share} of {scores.TrainIds.Count} training examples is all of them: choose a "
                    + "smaller Share, or more examples."
            );
        }

        var removed = new List<(string Name, IEnumerable<long> Ids)>();
        for (var q = 0; q < scores.QueryIds.Count; q++)
        {
            var row = scores.ForQuery(q);
            if (row.Values.Any(double.IsNaN))
            {
                throw new InfluenceException($"The scores of query {scores.QueryIds[q]} hold something that is no number.");
            }

            long[] order =
            [
                .. Enumerable
                    .Range(0, row.Count)
                    .OrderByDescending(i => row[i])
                    .ThenBy(i => row.Ids[i])
                    .Take(count)
                    .Select(i => row.Ids[i]),
            ];
            removed.Add((string.Create(CultureInfo.InvariantCulture, $"query {scores.QueryIds[q]} without its top {count}"), order));
        }

        for (var repeat = 0; repeat < RandomRepeats; repeat++)
        {
            var random = new KeyedRandom(Seed, "query loss difference", repeat);
            long[] order = [.. scores.TrainIds.OrderBy(random.Of).Take(count)];
            removed.Add((string.Create(CultureInfo.InvariantCulture, $"without {count} at random, {repeat}"), order));
        }

        return new Planned(Subsets.Without(scores.TrainIds, removed), [.. scores.QueryIds], count, scores.Metadata.Estimator);
    }

    /// <summary>What the runs say.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="runs">The runs of its subsets; they measured the queries of the scores.</param>
    /// <returns>The change of each query's loss and the mean, beside random examples.</returns>
    /// <exception cref="InfluenceException">The runs are another plan's or lack a query, or no query was measured with finite
    /// numbers.</exception>
    public Result Evaluate(Planned plan, Retraining.Result runs)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(runs);
        var losses = PlannedRuns.Losses(plan.Subsets, runs); // all, then query by query, then the random draws
        var columnOf = runs.QueryIds.Select((id, c) => (id, c)).ToDictionary(p => p.id, p => p.c);
        var (queries, dropped) = (new List<Row>(), new List<(long QueryId, string Reason)>());
        for (var q = 0; q < plan.QueryIds.Count; q++)
        {
            if (!columnOf.TryGetValue(plan.QueryIds[q], out var column))
            {
                throw new InfluenceException(
                    $"The runs did not measure query {plan.QueryIds[q]}: give Retraining.Run the ids of the scores' queries."
                );
            }

            var all = losses[0][column];
            var change = losses[q + 1][column] - all;
            var random = losses.Skip(plan.QueryIds.Count + 1).Average(row => row[column] - all);
            if (double.IsFinite(change) && double.IsFinite(random))
            {
                queries.Add(new Row(plan.QueryIds[q], change, random));
            }
            else
            {
                dropped.Add((plan.QueryIds[q], "a run's measurement is not finite"));
            }
        }

        // One purpose: the same draws of queries for all three, so that the gap is that of pairs.
        return queries.Count == 0
            ? throw DroppedQueries.NoneLeft(dropped)
            : new Result(
                plan,
                queries,
                dropped,
                Bootstrap.Mean("queries", [.. queries.Select(c => c.Removed)]),
                Bootstrap.Mean("queries", [.. queries.Select(c => c.AtRandom)]),
                Bootstrap.Mean("queries", [.. queries.Select(c => c.Removed - c.AtRandom)])
            );
    }

    /// <summary>The subsets that a query loss difference needs runs of.</summary>
    public sealed class Planned
    {
        internal Planned(Subsets subsets, IReadOnlyList<long> queryIds, int count, string estimator) =>
            (Subsets, QueryIds, Count, Estimator) = (subsets, queryIds, count, estimator);

        /// <summary>What to retrain on: <see cref="Retraining.Run"/> takes it. All examples, then one subset a query, then the random
        /// draws.</summary>
        public Subsets Subsets { get; }

        /// <summary>How many examples each subset leaves out.</summary>
        public int Count { get; }

        internal IReadOnlyList<long> QueryIds { get; }

        internal string Estimator { get; }
    }

    /// <summary>How one query's loss changed.</summary>
    /// <param name="QueryId">The query's id.</param>
    /// <param name="Removed">The rise of its loss without its strongest examples.</param>
    /// <param name="AtRandom">The mean rise without as many random ones.</param>
    public sealed record Row(long QueryId, double Removed, double AtRandom);

    /// <summary>How losses rose without the strongest examples.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly Planned _plan;

        internal Result(
            Planned plan,
            IReadOnlyList<Row> queries,
            IReadOnlyList<(long QueryId, string Reason)> dropped,
            Estimate mean,
            Estimate random,
            Estimate gap
        ) => (_plan, Queries, Dropped, Mean, MeanAtRandom, Gap) = (plan, queries, dropped, mean, random, gap);

        /// <summary>The mean over queries of the rise without each one's strongest examples; the interval is over queries.</summary>
        public Estimate Mean { get; }

        /// <summary>The same without random examples.</summary>
        public Estimate MeanAtRandom { get; }

        /// <summary>How much more the strongest examples do than random ones, query by query: above zero, the scores find what
        /// matters.</summary>
        public Estimate Gap { get; }

        /// <summary>Query by query, in the scores' order.</summary>
        public IReadOnlyList<Row> Queries { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>A table of the means and their intervals.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"QLD of {_plan.Estimator}: {_plan.Count:N0} of {_plan.Subsets.TrainIds.Count:N0} examples left out; {Queries.Count:N0} "
                    + $"queries, {Dropped.Count:N0} dropped",
                ["left out", "rise of the loss", "lower", "upper"],
                [
                    ["each query's strongest", Mean.Value, Mean.Lower, Mean.Upper],
                    ["as many at random", MeanAtRandom.Value, MeanAtRandom.Lower, MeanAtRandom.Upper],
                    ["gap", Gap.Value, Gap.Lower, Gap.Upper],
                ]
            );
    }
}
