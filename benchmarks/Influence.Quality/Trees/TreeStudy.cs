using System.Globalization;
using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Parts;
using Influence.Quality.Reporting;
using Influence.Trees;
using Influence.Trees.Native;
using TorchSharp;

namespace Influence.Quality.Trees;

/// <summary>Boosted trees: scores against LightGBM trained again, and flipped labels.</summary>
internal sealed class TreeStudy
{
    private const int Seed = 3;

    private static readonly (string Name, TreeEstimator Estimator)[] s_methods =
    [
        ("BoostIn", new BoostIn()),
        ("BoostIn, leaf values as published", new BoostIn { ShrunkLeafValue = true }),
        ("LeafInfluence", new LeafInfluence()),
        ("LeafInfluence, own scores alone", new LeafInfluence { Propagate = false }),
        ("LeafRefit", new LeafRefit()),
        ("LeafRefit, others' gradients held", new LeafRefit { Propagate = false }),
        ("TREX", new Trex()),
        ("TREX, shared leaves", new Trex { Kernel = TreeKernel.LeafPath }),
        ("tree-kernel similarity", new TreeSimilarity()),
    ];

    private readonly PartContext _context;
    private readonly TreeSetUp _setUp;
    private readonly List<Result> _results = [];
    private readonly Dictionary<string, double> _times = [];
    private readonly Bootstrap _bootstrap;

    private TreeStudy(PartContext context, TreeSetUp setUp) =>
        (_context, _setUp, _bootstrap) = (context, setUp, new Bootstrap { Resamples = context.Pick(1000, 100) });

    public static Findings Run(PartContext context, TreeSetUp setUp) => new TreeStudy(context, setUp).Run();

    private Findings Run()
    {
        var (train, queries) = (_setUp.Train, _setUp.Queries);
        var (model, seconds) = Clocked.Run(() => Trained(train));
        _times["the model"] = seconds;
        var scored = new List<(string Name, InfluenceScores Scores)>();
        try
        {
            var (halves, single, groups) = (Halves(), Single(), Groups());
            foreach (var (name, estimator) in s_methods)
            {
                var (scores, took) = Clocked.Run(() => estimator.Score(model, train, queries));
                scored.Add((name, scores));
                var lds = new Lds { Bootstrap = _bootstrap }.Evaluate(scores, halves);
                Add("LDS", name, lds.Mean, lds.Queries.Count, took);
                var one = new LeaveOneOutCorrelation { Bootstrap = _bootstrap }.Evaluate(scores, single);
                Add("leave-one-out, Spearman", name, one.Spearman, one.Queries.Count, took);
                var many = new LeaveOneOutCorrelation { Bootstrap = _bootstrap }.Evaluate(scores, groups);
                Add("groups of 1 percent left out, Spearman", name, many.Spearman, many.Queries.Count, took);
            }

            AddGroupRefit(model, groups);
            AddStrongest(scored);
        }
        finally
        {
            scored.ForEach(pair => pair.Scores.Dispose());
        }

        var flips = AddFlippedLabels();
        var losses = model.Losses(queries);
        return new Findings(
            new Dictionary<string, string>
            {
                ["data"] = _setUp.Note,
                ["model"] = $"LightGBM 4.7.0, {_setUp.Iterations} iterations, {_setUp.Parameters} {LightGbm.Repeatable}",
                ["retraining"] = "the same settings on other rows: splits are chosen anew, and nothing is drawn, so there are no seeds",
                ["measurement"] = "cross-entropy of the query",
                ["intervals"] =
                    "95 percent; queries and subsets drawn again; of flipped labels wrong and right rows, each among themselves",
                ["flipped labels"] = flips,
            },
            new Dictionary<string, string>
            {
                ["accuracy, training rows"] = Accuracy(model, train),
                ["accuracy, queries"] = Accuracy(model, queries),
                ["mean loss of the queries"] = losses.Values.Average().ToString("F4", CultureInfo.InvariantCulture),
                ["leaves"] = model.LeafCount.ToString("N0", CultureInfo.InvariantCulture),
            },
            _times,
            _results,
            []
        );
    }

    private BoostedTrees Trained(TabularExamples rows) =>
        BoostedTrees.ParseLightGbm(LightGbm.Train(rows, _setUp.Parameters, _setUp.Iterations).Text);

    private Retraining.Result Halves() => Retrained("LDS, halves", Subsets.Half(_setUp.Train.Ids, _context.Pick(50, 10), seed: 1));

    private Retraining.Result Single()
    {
        var order = _setUp.Train.Ids.ToArray();
        new Random(Seed).Shuffle(order);
        return Retrained("leave-one-out", Subsets.LeaveOneOut(_setUp.Train.Ids, order[.._context.Pick(120, 20)]));
    }

    private Retraining.Result Groups()
    {
        var order = _setUp.Train.Ids.ToArray();
        new Random(Seed + 1).Shuffle(order);
        var size = order.Length / 100;
        return Retrained(
            "groups",
            Subsets.Without(
                _setUp.Train.Ids,
                ExampleGroups.FromMembers([
                    .. order
                        .Chunk(size)
                        .Take(_context.Pick(60, 10))
                        .Select((ids, g) => (string.Create(CultureInfo.InvariantCulture, $"{g}"), (IEnumerable<long>)ids)),
                ])
            )
        );
    }

    private Retraining.Result Retrained(string name, Subsets subsets, IReadOnlyList<long>? some = null)
    {
        var queries = some is null ? _setUp.Queries : _setUp.Queries.Only(some);
        var losses = new double[subsets.Count, queries.Count];
        var (_, seconds) = Clocked.Run(() =>
        {
            for (var m = 0; m < subsets.Count; m++)
            {
                var own = Trained(_setUp.Train.Only(subsets[m].Ids)).Losses(queries);
                for (var q = 0; q < queries.Count; q++)
                {
                    losses[m, q] = own[q];
                }
            }

            return subsets.Count;
        });
        _times[$"{name}, {subsets.Count} models"] = seconds;
        _context.Note($"{name}: {subsets.Count} models trained in {seconds:F0} s");
        return Retraining.Result.Of(subsets, queries.Ids, losses);
    }

    /// <summary>A whole group refitted at once, in place of the sum over its examples.</summary>
    private void AddGroupRefit(BoostedTrees model, Retraining.Result groups)
    {
        var (train, queries) = (_setUp.Train, _setUp.Queries);
        int[] runs = [.. Enumerable.Range(0, groups.Count).Where(r => groups.SubsetOf(r).Count < train.Count)];
        var full = Enumerable.Range(0, groups.Count).Single(r => groups.SubsetOf(r).Count == train.Count);
        var (measured, predicted) = (new double[queries.Count * runs.Length], new double[queries.Count * runs.Length]);
        var (_, seconds) = Clocked.Run(() =>
        {
            var before = LeafRefit.Without(model, train, []).Losses(queries);
            for (var g = 0; g < runs.Length; g++)
            {
                var kept = groups.SubsetOf(runs[g]).Ids.ToHashSet();
                var after = LeafRefit.Without(model, train, [.. train.Ids.Where(id => !kept.Contains(id))]).Losses(queries);
                for (var q = 0; q < queries.Count; q++)
                {
                    measured[(q * runs.Length) + g] = groups[runs[g], q] - groups[full, q];
                    predicted[(q * runs.Length) + g] = after[q] - before[q];
                }
            }

            return runs.Length;
        });
        using InfluenceScores truth = Wrap(measured),
            own = Wrap(predicted);
        var agreement = new RankAgreement { Bootstrap = _bootstrap }.Evaluate(truth, own);
        Add(
            "groups of 1 percent left out, Spearman",
            "LeafRefit of the whole group (interval over queries)",
            agreement.Mean,
            agreement.Queries.Count,
            seconds
        );

        InfluenceScores Wrap(double[] values) =>
            new(
                torch.tensor(values, [queries.Count, runs.Length], torch.ScalarType.Float64),
                queries.Ids,
                [.. runs.Select(r => (long)r)],
                new ScoreMetadata { Estimator = "rise without the group", Unit = "loss" }
            );
    }

    /// <summary>Each query's strongest hundredth is left out: what does its own loss do?</summary>
    private void AddStrongest(List<(string Name, InfluenceScores Scores)> scored)
    {
        const string Metric = "QLD: rise of the loss without the query's strongest 1 percent";
        long[] some = [.. _setUp.Queries.Ids.Take(_context.Pick(40, 6))];
        var qld = new Qld { RandomRepeats = 5 };
        foreach (var (name, scores) in scored.Where(pair => !pair.Name.Contains(',', StringComparison.Ordinal)))
        {
            using var part = new InfluenceScores(scores.Values.narrow(0, 0, some.Length).clone(), some, scores.TrainIds, scores.Metadata);
            var plan = qld.Plan(part);
            var result = qld.Evaluate(plan, Retrained($"QLD, {name}", plan.Subsets, some));
            Add(Metric, name, result.Mean, result.Queries.Count, 0);
            if (name == scored[0].Name)
            {
                Add(Metric, "as many at random", result.MeanAtRandom, result.Queries.Count, 0);
            }
        }
    }

    private string AddFlippedLabels()
    {
        const string Metric = "mislabelled, AUC";
        var (clean, random) = (_setUp.Train, new Random(Seed + 2));
        var order = Enumerable.Range(0, clean.Count).ToArray();
        random.Shuffle(order);
        var targets = clean.Targets.ToArray();
        foreach (var i in order[..(clean.Count / 10)])
        {
            targets[i] = (targets[i] + random.Next(1, _setUp.Classes)) % _setUp.Classes;
        }

        long[] wrong = [.. order[..(clean.Count / 10)].Select(i => clean.Ids[i])];
        var train = clean.WithTargets(targets);
        var model = Trained(train);
        foreach (var (name, estimator) in s_methods)
        {
            var (self, seconds) = Clocked.Run(() => estimator.SelfInfluence(model, train));
            Judge($"self-influence, {name}", self, seconds);
            var (harm, took) = Clocked.Run(() =>
            {
                using var scores = estimator.Score(model, train, _setUp.Clean);
                using var scope = torch.NewDisposeScope();
                return ExampleScores.Of(train.Ids, [.. scores.Values.sum([0]).neg().data<double>()]);
            });
            Judge($"harm to {_setUp.Clean.Count} rows with right labels, {name}", harm, took);
        }

        Judge("loss, without influence", model.Losses(train), 0);
        Judge("random", ExampleScores.Of(train.Ids, [.. train.Ids.Select(_ => random.NextDouble())]), 0);
        return $"{wrong.Length} of {train.Count}, drawn with seed {Seed + 2}; the model trained on them has "
            + $"{Accuracy(model, _setUp.Queries)} of the queries right";

        void Judge(string name, ExampleScores scores, double seconds) =>
            Add(
                Metric,
                name,
                new MislabelDetection { Bootstrap = _bootstrap }
                    .Evaluate(scores, wrong)
                    .Auc,
                scores.Count,
                seconds
            );
    }

    private void Add(string metric, string method, Estimate value, int over, double seconds)
    {
        _results.Add(new Result(metric, method, value.Value, value.Lower, value.Upper, over, string.Empty, [], seconds));
        _context.Note($"{metric} {value} {method}");
    }

    private string Accuracy(BoostedTrees model, TabularExamples rows)
    {
        var predictions = model.Predict(rows);
        var right = Enumerable
            .Range(0, rows.Count)
            .Count(i =>
                _setUp.Classes == 2
                    ? (predictions[i, 0] > 0.5 ? 1 : 0) == rows.Targets[i]
                    : Enumerable.Range(0, _setUp.Classes).MaxBy(k => predictions[i, k]) == rows.Targets[i]
            );
        return ((double)right / rows.Count).ToString("P1", CultureInfo.InvariantCulture);
    }
}
