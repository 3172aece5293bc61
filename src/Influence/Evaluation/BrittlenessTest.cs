using System.Globalization;
using Influence.Display;
using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// How many training examples hold a prediction up: for each query that is predicted right, its k strongest proponents are
/// left out, and the retrained model is asked whether the prediction flips; beside k random examples.
/// </summary>
/// <remarks>
/// Ilyas et al., 2022 (section 4.1); Park et al., 2023. A run for each query and k, with the same seeds throughout: a whole grid,
/// because more removals need not flip more surely. The training function returns for each query minus the margin of the right
/// class (its logit less the highest other one), so that a value above zero is a wrong prediction.
/// </remarks>
public sealed record BrittlenessTest
{
    /// <summary>How many proponents are left out.</summary>
    /// <value>20, 40, ... 180.</value>
    public IReadOnlyList<int> Counts
    {
        get;
        init =>
            field =
                value is { Count: > 0 } && value.All(k => k > 0) && value.Distinct().Count() == value.Count
                    ? [.. value.Order()]
                    : throw new InfluenceException("Counts are above 0, none twice: Counts = [20, 40, 80].");
    } = [20, 40, 60, 80, 100, 120, 140, 160, 180];

    /// <summary>How many draws of random examples stand beside each count; every query is judged by each.</summary>
    /// <value>3.</value>
    public int RandomRepeats
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>Of the random examples.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>From a query's mean loss over seeds to whether its prediction is wrong.</summary>
    /// <value>Above zero: the loss is minus the margin.</value>
    public Func<double, bool> IsWrong { get; init; } = loss => loss > 0;

    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>The subsets to retrain on.</summary>
    /// <param name="scores">Scores of the queries to test. Examples with a positive score alone count as proponents.</param>
    /// <returns>The plan; the same scores and settings give the same.</returns>
    /// <exception cref="InfluenceException">Scores that are no numbers, or fewer training examples than are to be left out.</exception>
    public Planned Plan(InfluenceScores scores)
    {
        ArgumentNullException.ThrowIfNull(scores);
        if (Counts[^1] >= scores.TrainIds.Count)
        {
            throw new InfluenceException($"Counts go up to {Counts[^1]}; there are only {scores.TrainIds.Count} training examples.");
        }

        var steps = new List<(long? QueryId, int Count)>();
        var removed = new List<(string Name, IEnumerable<long> Ids)>();
        for (var q = 0; q < scores.QueryIds.Count; q++)
        {
            var row = scores.ForQuery(q);
            if (row.Values.Any(double.IsNaN))
            {
                throw new InfluenceException($"The scores of query {scores.QueryIds[q]} hold something that is no number.");
            }

            long[] proponents =
            [
                .. Enumerable
                    .Range(0, row.Count)
                    .Where(i => row[i] > 0)
                    .OrderByDescending(i => row[i])
                    .ThenBy(i => row.Ids[i])
                    .Select(i => row.Ids[i]),
            ];
            foreach (var count in Counts)
            {
                steps.Add((scores.QueryIds[q], count));
                removed.Add(
                    (
                        string.Create(CultureInfo.InvariantCulture, $"query {scores.QueryIds[q]} without {count} proponents"),
                        proponents.Take(count)
                    )
                );
            }
        }

        for (var repeat = 0; repeat < RandomRepeats; repeat++)
        {
            var random = new KeyedRandom(Seed, "brittleness", repeat);
            long[] order = [.. scores.TrainIds.OrderBy(random.Of)];
            foreach (var count in Counts)
            {
                steps.Add((null, count));
                removed.Add((string.Create(CultureInfo.InvariantCulture, $"without {count} at random, {repeat}"), order.Take(count)));
            }
        }

        return new Planned(Subsets.Without(scores.TrainIds, removed), steps);
    }

    /// <summary>What the runs say.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="runs">The runs of its subsets; they measured the queries of the scores.</param>
    /// <returns>The share of flipped predictions at each count, and the fewest removals that flip each query.</returns>
    /// <exception cref="InfluenceException">The runs are another plan's, lack a query, or predict every query wrong.</exception>
    public Result Evaluate(Planned plan, Retraining.Result runs)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(runs);
        var losses = PlannedRuns.Losses(plan.Subsets, runs);
        var columnOf = runs.QueryIds.Select((id, c) => (id, c)).ToDictionary(p => p.id, p => p.c);
        var (flips, random, fewest, dropped) = (
            Counts.Select(_ => new List<double>()).ToArray(),
            Counts.Select(_ => new List<double>()).ToArray(),
            new List<(long, int?)>(),
            new List<(long QueryId, string Reason)>()
        );
        foreach (var id in plan.Steps.Select(s => s.QueryId).OfType<long>().Distinct())
        {
            if (!columnOf.TryGetValue(id, out var column))
            {
                throw new InfluenceException($"The runs did not measure query {id}: give Retraining.Run the ids of the scores' queries.");
            }

            int[] rows =
            [
                0,
                .. Enumerable.Range(1, plan.Steps.Count).Where(s => plan.Steps[s - 1].QueryId is null || plan.Steps[s - 1].QueryId == id),
            ];
            if (!rows.All(r => double.IsFinite(losses[r][column])) || IsWrong(losses[0][column]))
            {
                dropped.Add(
                    (
                        id,
                        rows.All(r => double.IsFinite(losses[r][column]))
                            ? "it is predicted wrong with all examples"
                            : "a run's measurement is not finite"
                    )
                );
                continue;
            }

            int? first = null;
            for (var k = 0; k < Counts.Count; k++)
            {
                var flipped = rows.Skip(1).Any(r => plan.Steps[r - 1] == (id, Counts[k]) && IsWrong(losses[r][column]));
                flips[k].Add(flipped ? 1 : 0);
                random[k]
                    .Add(
                        rows.Skip(1).Where(r => plan.Steps[r - 1] == (null, Counts[k])).Average(r => IsWrong(losses[r][column]) ? 1.0 : 0.0)
                    );
                first ??= flipped ? Counts[k] : null;
            }

            fewest.Add((id, first));
        }

        return fewest.Count == 0
            ? throw DroppedQueries.NoneLeft(dropped)
            : new Result(
                [
                    .. Counts.Select(
                        (count, k) => new Point(count, Bootstrap.Mean("queries", flips[k]), Bootstrap.Mean("queries", random[k]))
                    ),
                ],
                fewest,
                dropped
            );
    }

    /// <summary>The subsets that a brittleness test needs runs of.</summary>
    public sealed class Planned
    {
        internal Planned(Subsets subsets, IReadOnlyList<(long? QueryId, int Count)> steps) => (Subsets, Steps) = (subsets, steps);

        /// <summary>What to retrain on: <see cref="Retraining.Run"/> takes it.</summary>
        public Subsets Subsets { get; }

        /// <summary>Whose proponents each subset after the first leaves out (null: random examples), and how many.</summary>
        internal IReadOnlyList<(long? QueryId, int Count)> Steps { get; }
    }

    /// <summary>The flipped predictions at one count.</summary>
    /// <param name="Count">How many examples were left out.</param>
    /// <param name="Flipped">The share of the queries that flipped without their proponents.</param>
    /// <param name="FlippedAtRandom">The share that flipped without as many random examples.</param>
    public sealed record Point(int Count, Estimate Flipped, Estimate FlippedAtRandom);

    /// <summary>How many training examples hold predictions up.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            IReadOnlyList<Point> points,
            IReadOnlyList<(long QueryId, int? Count)> fewest,
            IReadOnlyList<(long QueryId, string Reason)> dropped
        ) => (Points, Fewest, Dropped) = (points, fewest, dropped);

        /// <summary>Count by count.</summary>
        public IReadOnlyList<Point> Points { get; }

        /// <summary>The fewest removals on the grid that flipped each query; null where none did.</summary>
        public IReadOnlyList<(long QueryId, int? Count)> Fewest { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>A table, one line a count.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Brittleness: {Fewest.Count:N0} queries, {Fewest.Count(f => f.Count is not null):N0} flipped on the grid, "
                    + $"{Dropped.Count:N0} dropped",
                ["removed", "flipped", "lower", "upper", "at random", "lower", "upper"],
                [
                    .. Points.Select(p =>
                        (IReadOnlyList<object>)
                            [
                                p.Count,
                                p.Flipped.Value,
                                p.Flipped.Lower,
                                p.Flipped.Upper,
                                p.FlippedAtRandom.Value,
                                p.FlippedAtRandom.Lower,
                                p.FlippedAtRandom.Upper,
                            ]
                    ),
                ]
            );
    }
}
