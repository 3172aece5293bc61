using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Gradients;
using Influence.Groups;
using Influence.Mixtures;
using Influence.Scorers;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Reports.Tests;

/// <summary>A small classifier with wrong labels, scored and judged as a user would; every number in the report was computed.</summary>
internal static class SmallStudy
{
    private static readonly string[] s_names = ["circle", "square", "cross"];
    private static readonly string[] s_sources = ["web", "books", "mail"];

    public static InfluenceReport Report(string folder)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        const int Count = 90;
        var trueLabels = arange(Count, ScalarType.Int64).remainder(3);
        var wrong = arange(Count, ScalarType.Int64).remainder(9).eq(5);
        var labels = where(wrong, (trueLabels + 1).remainder(3), trueLabels);
        var images = Pictures(trueLabels);
        var testLabels = arange(12, ScalarType.Int64).remainder(3);
        var testImages = Pictures(testLabels);
        using var model = nn.Sequential(("flat", nn.Flatten()), ("in", nn.Linear(144, 12)), ("act", nn.ReLU()), ("out", nn.Linear(12, 3)));
        using var optimizer = optim.SGD(model.parameters(), 0.05);
        using var dynamics = new TrainingDynamics();
        var ids = Enumerable.Range(0, Count).Select(i => (long)i).ToArray();
        for (var epoch = 0; epoch < 25; epoch++)
        {
            optimizer.zero_grad();
            var logits = model.call(images);
            dynamics.Record(ids, logits, labels);
            nn.functional.cross_entropy(logits, labels).backward();
            optimizer.step();
        }

        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Examples.FromTensors(("x", images), ("y", labels));
        var queries = Examples.FromTensors(("x", testImages), ("y", testLabels));
        var cost = new CostLog();
        using var ekfac = Ekfac.Fit(task, train, progress: cost);
        var influence = new InfluenceFunction(ekfac);
        using var scores = influence.Score(task, train, queries, cost);
        var self = influence.SelfInfluence(task, train, cost);
        var losses = new ExampleLosses().Score(task, train, cost);
        var given = labels.data<long>().ToArray();
        var truth = trueLabels.data<long>().ToArray();
        ExampleView Show(long id) =>
            ExampleView.FromImage(images[id]) with
            {
                Label = s_names[given[id]],
                Mark = given[id] == truth[id] ? "" : "flipped",
                Fields = [("true", s_names[truth[id]]), ("source", s_sources[id % 3])],
            };
        Func<long, ExampleView> show = Show;

        var groups = ExampleGroups.Of(train.Ids, id => s_sources[id % 3]);
        var targets = ExampleGroups.Of(queries.Ids, id => id % 2 == 0 ? "even" : "odd");
        var groupScores = new GroupInfluence(influence).Score(task, train, groups, queries, targets, cost);
        var mixture = new TikmixD().Optimize(groupScores, Mixtures.Mixture.Uniform(s_sources));
        double[] Retrained(IReadOnlyList<long> on, long seed)
        {
            using var inner = NewDisposeScope();
            random.manual_seed(seed);
            var again = nn.Linear(144, 3);
            var sgd = optim.SGD(again.parameters(), 0.05);
            var index = tensor(on.ToArray());
            var (x, y) = (images.flatten(1)[index], labels[index]);
            for (var step = 0; step < 15; step++)
            {
                sgd.zero_grad();
                nn.functional.cross_entropy(again.call(x), y).backward();
                sgd.step();
            }

            return nn
                .functional.cross_entropy(again.call(testImages.flatten(1)), testLabels, reduction: nn.Reduction.None)
                .to_type(ScalarType.Float64)
                .data<double>()
                .ToArray();
        }

        var runs = new Retraining(Path.Combine(folder, "halves")) { Seeds = [0, 1] }.Run(
            Subsets.Half(train.Ids, 10, seed: 7),
            queries.Ids,
            run => Retrained(run.Ids, run.Seed)
        );
        using var lossScores = new TracIn().Score(task, train, queries);
        var removal = new RemovalCurve();
        var plan = removal.Plan(("EK-FAC", scores.ForQuery(0)));
        var removed = removal.Evaluate(
            plan,
            new Retraining(Path.Combine(folder, "removal")).Run(plan.Subsets, queries.Ids, run => Retrained(run.Ids, run.Seed))
        );
        var lds = new Lds();
        var damping = new DampingSearch { HeldOut = 0.5 }.Run(influence, task, train, queries, s => lds.Evaluate(s, runs).Mean.Value);
        var flipped = ids.Where(id => given[id] != truth[id]).ToList();
        var detection = new MislabelDetection();

        return new InfluenceReport("A small study of shapes")
        {
            Summary =
            [
                "Ninety pictures of three shapes, every ninth with a wrong "
                    + "label, and what a network of 1,779 parameters learnt from them.",
            ],
        }
            .Detection(("self-influence", detection.Evaluate(self, flipped)), ("loss", detection.Evaluate(losses, flipped)))
            .Suspects(self, show, beside: [losses], heading: "Suspects")
            .Queries(scores, show, id => ExampleView.FromImage(testImages[id]) with { Label = s_names[id % 3] }, heading: "Queries")
            .Groups(groupScores)
            .Mixture(mixture)
            .Damping(damping, "LDS")
            .Lds(("EK-FAC", lds.Evaluate(scores, runs)), ("gradient product", lds.Evaluate(lossScores, runs)))
            .Removal(removed)
            .DataMap(dynamics.Cartography(), show)
            .Coverage(task.Coverage(train))
            .Cost(cost)
            .Cost(("EK-FAC's fit", ekfac.Info.Cost), ("scores", scores.Metadata.Cost), ("of an older file", null));
    }

    /// <summary>Circles, squares and crosses of 12 x 12 pixels with noise, in [0, 1].</summary>
    private static Tensor Pictures(Tensor labels)
    {
        var kinds = labels.data<long>().ToArray();
        var noise = rand(kinds.Length, 12, 12).mul(0.35);
        var values = noise.data<float>().ToArray();
        for (var i = 0; i < kinds.Length; i++)
        {
            for (var y = 0; y < 12; y++)
            {
                for (var x = 0; x < 12; x++)
                {
                    var (dx, dy) = (Math.Abs(x - 5.5), Math.Abs(y - 5.5));
                    var on = kinds[i] switch
                    {
                        0 => Math.Abs(Math.Sqrt((dx * dx) + (dy * dy)) - 4) < 0.8,
                        1 => Math.Max(dx, dy) is > 3 and < 4,
                        _ => Math.Abs(dx - dy) < 0.8 && dx < 4.5,
                    };
                    values[(((i * 12) + y) * 12) + x] += on ? 0.6f : 0;
                }
            }
        }

        return tensor(values).reshape(kinds.Length, 1, 12, 12);
    }
}
