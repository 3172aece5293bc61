using System.Globalization;
using Influence.Display;
using Influence.Evaluation;
using MathNet.Numerics.Distributions;
using TorchSharp;

namespace Influence.Memorisation;

/// <summary>
/// How much a model's answer to a training example depends on having seen it, from models that were retrained on random subsets:
/// <code>mem(z) = mean of r(z) over models with z in their subset  -  mean of r(z) over those without it</code>
/// with r the measurement as a reward: 1 for a right answer, or a likelihood, or minus the loss. The influence of z on a query q is the
/// same with r(q).
/// </summary>
/// <remarks>
/// The standard error is that of a difference of two means, <c>p(1-p)/n</c> each where all measurements are 0 or 1, the sample variance
/// over n where they are not; intervals are normal. What is estimated is the memorisation of models that see the subsets' share of the
/// data, not all of it. The runs are those of <see cref="Retraining"/>, with training ids as queries; nothing is trained here. Reference:
/// Feldman, Zhang, "What Neural Networks Memorize and Why", NeurIPS 2020, who used 2,000 models on 70 percent each.
/// </remarks>
public sealed record FeldmanZhang
{
    /// <summary>Runs with and runs without an example that are needed at least.</summary>
    /// <value>10.</value>
    /// <exception cref="InfluenceException">Less than 2.</exception>
    public int MinimumRuns
    {
        get;
        init => field = Check.AtLeast(value, 2);
    } = 10;

    /// <summary>The probability with which an interval holds the value.</summary>
    /// <value>0.95.</value>
    /// <exception cref="InfluenceException">Not between 0 and 1.</exception>
    public double Level
    {
        get;
        init => field = Check.InsideUnit(value);
    } = 0.95;

    /// <summary>Estimates each example's memorisation.</summary>
    /// <param name="runs">Runs whose queries are training examples, by their training ids; other queries are passed over.</param>
    /// <returns>One estimate for each such query.</returns>
    /// <exception cref="InfluenceException">No query is a training example, a measurement is not finite, or too few runs with or without an
    /// example.</exception>
    public Result Memorisation(Retraining.Result runs)
    {
        ArgumentNullException.ThrowIfNull(runs);
        var positions = runs.Subsets.TrainIds.Index().ToDictionary(pair => pair.Item, pair => pair.Index);
        var both = runs.QueryIds.Index().Where(query => positions.ContainsKey(query.Item)).ToList();
        if (both.Count == 0)
        {
            throw new InfluenceException(
                "No query of the runs is a training example: give Retraining.Run the training examples' own ids as query ids."
            );
        }

        CheckRuns(runs, [.. both.Select(query => positions[query.Item])]);
        return new Result([.. both.Select(query => (query.Item, Difference(runs, positions[query.Item], query.Index)))]);
    }

    /// <summary>Estimates the influence of every training example on every query: the rise of r(q) that comes with the example.</summary>
    /// <param name="runs">The runs.</param>
    /// <returns>Scores, <c>[queries, train]</c>, positive for proponents; dispose them.</returns>
    /// <exception cref="InfluenceException">A measurement is not finite, or too few runs with or without an example.</exception>
    public InfluenceScores Influence(Retraining.Result runs)
    {
        ArgumentNullException.ThrowIfNull(runs);
        CheckRuns(runs, [.. Enumerable.Range(0, runs.Subsets.TrainIds.Count)]);
        var values = new double[runs.QueryIds.Count, runs.Subsets.TrainIds.Count];
        for (var z = 0; z < values.GetLength(1); z++)
        {
            var (inside, outside) = Split(runs, z);
            for (var q = 0; q < values.GetLength(0); q++)
            {
                values[q, z] = inside.Average(run => -runs[run, q]) - outside.Average(run => -runs[run, q]);
            }
        }

        using var tensor = torch.tensor(values);
        return new InfluenceScores(
            tensor,
            runs.QueryIds,
            runs.Subsets.TrainIds,
            new ScoreMetadata
            {
                Estimator = "Feldman and Zhang's influence",
                Unit = "the measurement, without the example less with it",
                LeaveOneOutFactor = 1,
                Notes = string.Create(CultureInfo.InvariantCulture, $"means over {runs.Count} retrained models"),
            }
        );
    }

    private Estimate Difference(Retraining.Result runs, int train, int query)
    {
        var (with, without) = Split(runs, train);
        var (inside, outside) = (with.Select(run => -runs[run, query]).ToList(), without.Select(run => -runs[run, query]).ToList());
        var value = inside.Average() - outside.Average();
        var binary = inside.Concat(outside).All(r => r is 0 or 1 or -1);
        var half = Normal.InvCDF(0, 1, (1 + Level) / 2) * Math.Sqrt(SquaredError(inside, binary) + SquaredError(outside, binary));
        return new Estimate(value, value - half, value + half);
    }

    /// <summary>The runs with an example, and those without it.</summary>
    private static (List<int> With, List<int> Without) Split(Retraining.Result runs, int train)
    {
        var (with, without) = (new List<int>(), new List<int>());
        for (var run = 0; run < runs.Count; run++)
        {
            (runs.SubsetOf(run).Contains(train) ? with : without).Add(run);
        }

        return (with, without);
    }

    private static double SquaredError(List<double> values, bool binary)
    {
        var mean = values.Average();
        var sum = values.Sum(value => (value - mean) * (value - mean));
        return sum / (binary ? values.Count : values.Count - 1) / values.Count;
    }

    private void CheckRuns(Retraining.Result runs, IReadOnlyList<int> train)
    {
        if (runs.NotFinite.Count > 0)
        {
            throw new InfluenceException(
                $"Measurements are not finite: run and query {InfluenceException.List([.. runs.NotFinite])}. "
                    + "Measure accuracy or a likelihood, or leave the queries out."
            );
        }

        var few = train
            .Select(z => (Id: runs.Subsets.TrainIds[z], With: Enumerable.Range(0, runs.Count).Count(run => runs.SubsetOf(run).Contains(z))))
            .Where(e => e.With < MinimumRuns || runs.Count - e.With < MinimumRuns)
            .ToList();
        if (few.Count > 0)
        {
            throw new InfluenceException(
                $"At least {MinimumRuns} runs with and {MinimumRuns} without each example are needed; of {runs.Count} runs example "
                    + $"{few[0].Id} is in {few[0].With} and out of {runs.Count - few[0].With} ({few.Count} such examples). Train on more "
                    + $"subsets: Subsets.Random(ids, 0.7, count: {Math.Max(40, 5 * MinimumRuns)}, seed)."
            )
            {
                ExampleIds = [.. few.Select(e => e.Id)],
            };
        }
    }

    /// <summary>Each example's memorisation. Plain memory.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(IReadOnlyList<(long Id, Estimate Memorisation)> examples) => Examples = examples;

        /// <summary>Each example's id and estimate, in the order of the queries.</summary>
        public IReadOnlyList<(long Id, Estimate Memorisation)> Examples { get; }

        /// <summary>The values as scores, to rank by.</summary>
        public ExampleScores Scores =>
            ExampleScores.Of([.. Examples.Select(e => e.Id)], [.. Examples.Select(e => e.Memorisation.Value)], "Memorisation");

        /// <summary>A table of the examples that are memorised most.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Memorisation of {Examples.Count:N0} examples, {Examples.Count(e => e.Memorisation.Lower > 0):N0} with an interval "
                    + "above 0",
                ["example", "memorisation", "lower", "upper"],
                [
                    .. Examples
                        .OrderByDescending(e => e.Memorisation.Value)
                        .Take(Table.MaximumRows)
                        .Select(e => (IReadOnlyList<object>)[e.Id, e.Memorisation.Value, e.Memorisation.Lower, e.Memorisation.Upper]),
                ],
                Examples.Count
            );
    }
}
