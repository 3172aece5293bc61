using Influence.Estimators;
using Influence.Recipes;
using Influence.Scorers;
using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>Probe a sample, learn from it, score the pool, and again as the model moves.</summary>
public class MatesTests(ITestOutputHelper output)
{
    /// <summary>
    /// A classifier halfway through its training, with a fifth of the labels wrong. The distilled model's order of the pool against that of
    /// probing all of it.
    /// </summary>
    [Fact]
    public void TheDistilledModelOrdersThePoolAsTheOracleDoes()
    {
        using var scope = NewDisposeScope();
        using var job = new NoisyJob();
        var all = new ProbeOracle { Reference = job.Reference, Optimizer = job.Optimizer }.Score(job.Task, job.Pool);
        foreach (
            var (name, mates, least) in new (string, Mates, double)[]
            {
                ("ridge on projected gradients", new Mates(InfluenceFeatures.Gradients(job.Task)) { Probes = 200 }, 0.9),
                ("ridge on inputs and label", new Mates(job.Inputs) { Probes = 200 }, 0.8),
                (
                    "network on inputs and label",
                    new Mates(job.Inputs)
                    {
                        Probes = 200,
                        Regression = new MlpRegression { Epochs = 60 },
                    },
                    0.85
                ),
            }
        )
        {
            var scores = mates.Score(job.Task, job.Pool, job.Reference, job.Optimizer);
            var unseen = job.Pool.Ids.Except(scores.Measured.Ids).ToArray();
            var truth = Spearman.Of([.. unseen.Select(id => scores.Scores[(int)id])], [.. unseen.Select(id => all[(int)id])]);
            output.WriteLine(
                $"{name}: held-out {scores.HeldOutCorrelation:0.000} of {scores.HeldOutIds.Count}, on the {unseen.Length} "
                    + $"unprobed {truth:0.000}; {scores.Description}"
            );
            Assert.Equal(200, scores.Measured.Count);
            Assert.True(truth > least, $"{name}: {truth}");

            // The held-out part is 40 examples: its correlation is the true one to about 0.15, two standard errors where the truth is zero
            // 0.3.
            Assert.Equal(truth, scores.HeldOutCorrelation, 0.3);
        }
    }

    /// <summary>Two candidates that differ by d: the better comes first with probability 1 / (1 + exp(-d / tau)).</summary>
    [Fact]
    public void ScoresAreSelectedFromByGumbelTopK()
    {
        var scores = ExampleScores.Of([0, 1], [0.4, 0]);
        var first = Enumerable
            .Range(0, 4000)
            .Count(seed =>
                new Proportional { Seed = seed, Temperature = 0.5 }
                    .Select(scores, SelectionBudget.Count(1))
                    .Ids[0] == 0
            );

        // 0.69 of 4,000 draws, standard deviation 0.0073; four of them.
        Assert.Equal(1 / (1 + Math.Exp(-0.8)), first / 4000.0, 0.03);
    }

    [Fact]
    public void ItIsMeasuredAnewAsTheModelMoves()
    {
        using var scope = NewDisposeScope();
        using var job = new NoisyJob();
        var run = new Mates.Run(
            job.Model,
            3,
            step =>
                new Mates(InfluenceFeatures.Gradients(job.Task)) { Probes = 40, Seed = step }.Score(
                    job.Task,
                    job.Pool,
                    job.Reference,
                    job.Optimizer
                )
        );
        Assert.Contains("run.Measure()", Assert.Throws<InfluenceException>(() => run.Latest).Message, StringComparison.Ordinal);
        var first = run.Measure();
        using var sgd = optim.SGD(job.Model.parameters(), 0.5);
        for (var step = 1; step <= 7; step++)
        {
            sgd.zero_grad();
            job.Backward();
            sgd.step();
            Assert.Equal(step % 3 == 0, run.Step());
        }

        Assert.Equal([0, 3, 6], run.History.Select(m => m.Step));
        Assert.NotSame(first, run.Latest);
        Assert.Equal(run.Latest.HeldOutCorrelation, run.History[^1].HeldOutCorrelation);
        Assert.False(first.Measured.Ids.Order().SequenceEqual(run.Latest.Measured.Ids.Order()));
        Assert.NotEqual(first.Scores.Values, run.Latest.Scores.Values);
        Assert.Throws<InfluenceException>(() => new Mates.Run(job.Model, 0, _ => first));
        Assert.Throws<InfluenceException>(() => new Mates.Run(job.Model, 1, _ => null!).Step());
        Assert.Contains("held-out rank correlation", run.Latest.ToString(), StringComparison.Ordinal);
    }

    /// <summary>What the fit would refuse is refused before the first probe.</summary>
    [Fact]
    public void CheapChecksComeFirst()
    {
        using var scope = NewDisposeScope();
        using var job = new NoisyJob();
        var made = 0;
        Func<nn.Module, optim.Optimizer> counted = model =>
        {
            made++;
            return job.Optimizer(model);
        };
        Assert.Contains(
            "at least 8 examples",
            Assert
                .Throws<InfluenceException>(() => new Mates(job.Inputs).Score(job.Task, job.Pool.Only([0, 1, 2]), job.Reference, counted))
                .Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "[B, d]",
            Assert
                .Throws<InfluenceException>(() =>
                    new Mates(InfluenceFeatures.Of(b => b["x"].sum(1))).Score(job.Task, job.Pool, job.Reference, counted)
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Equal(0, made);
    }

    /// <summary>Each module has its own mode again, a frozen one too, also after a failure; while it is measured all are in evaluation
    /// mode.</summary>
    [Fact]
    public void ModesAreAsBefore()
    {
        using var scope = NewDisposeScope();
        using var job = new NoisyJob();
        job.Model.train();
        var frozen = job.Model.named_modules().First().module;
        frozen.eval();
        var seen = new List<bool>();
        var run = new Mates.Run(
            job.Model,
            1,
            _ =>
            {
                seen.AddRange(job.Model.named_modules().Select(m => m.module.training).Append(job.Model.training));
                throw new InvalidOperationException("no");
            }
        );
        Assert.Throws<InvalidOperationException>(() => run.Step());
        Assert.DoesNotContain(true, seen);
        Assert.True(job.Model.training);
        Assert.False(frozen.training);
        Assert.True(job.Model.named_modules().Last().module.training);
    }

    /// <summary>Gradients depend on frozen parameters too.</summary>
    [Fact]
    public void AFrozenParameterThatMovedIsNoticed()
    {
        using var scope = NewDisposeScope();
        using var job = new NoisyJob();
        job.Model.parameters().First().requires_grad_(false);
        var measured = ExampleScores.Of([.. job.Pool.Ids.Take(12)], [.. Enumerable.Range(0, 12).Select(i => (double)i)]);
        using var model = DataInfluenceModel.Fit(
            measured,
            job.Pool,
            InfluenceFeatures.Gradients(job.Task, new ProjectedGradients { Dimension = 4 })
        );
        using (no_grad())
        {
            job.Model.parameters().First().mul_(1.01);
        }

        Assert.Contains(
            "other weights",
            Assert.Throws<InfluenceException>(() => model.Predict(job.Pool)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void GradientsOfOtherWeightsAreRefused()
    {
        using var scope = NewDisposeScope();
        using var job = new NoisyJob();
        var measured = new ProbeOracle { Reference = job.Reference, Optimizer = job.Optimizer }.Score(
            job.Task,
            job.Pool.Only([.. Enumerable.Range(0, 20).Select(i => (long)i)])
        );
        using var model = DataInfluenceModel.Fit(measured, job.Pool, InfluenceFeatures.Gradients(job.Task));
        using (no_grad())
        {
            job.Model.parameters().First().mul_(1.01);
        }

        Assert.Contains(
            "other weights",
            Assert.Throws<InfluenceException>(() => model.Predict(job.Pool)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void NothingStaysAliveAndACancelledCallLeavesTheModelAsItWas()
    {
        using var job = new NoisyJob();
        var mates = new Mates(InfluenceFeatures.Gradients(job.Task)) { Probes = 20 };
        mates.Score(job.Task, job.Pool, job.Reference, job.Optimizer);
        var state = ModelState.Of(job.Model, job.X);
        var before = LiveTensors.OnThisThread;
        mates.Score(job.Task, job.Pool, job.Reference, job.Optimizer);
        Assert.Equal(before, LiveTensors.OnThisThread);
        foreach (var stop in new[] { 3, 21 })
        {
            using var source = new CancellationTokenSource();
            var reports = 0;
            var progress = new Reports(_ =>
            {
                if (++reports == stop)
                {
                    source.Cancel();
                }
            });
            Assert.Throws<OperationCanceledException>(() =>
                mates.Score(job.Task, job.Pool, job.Reference, job.Optimizer, progress, source.Token)
            );
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
        state.AssertUnchanged(job.Model, job.X);
        Assert.Throws<InfluenceException>(() => new Mates(job.Inputs) { Probes = 7 });
        Assert.Throws<InfluenceException>(() => new Mates(job.Inputs) { HeldOut = 0 });
    }

    /// <summary>Three noisy clouds in six dimensions, a fifth of the pool's labels wrong, a network trained for a while with SGD.</summary>
    private sealed class NoisyJob : IDisposable
    {
        private const int Count = 600;
        private readonly DisposeScope _scope = NewDisposeScope();

        public NoisyJob()
        {
            torch.random.manual_seed(31);
            var (hidden, head) = (nn.Linear(6, 16, dtype: ScalarType.Float64), nn.Linear(16, 3, dtype: ScalarType.Float64));
            Model = new Composite(x => head.call(hidden.call(x).tanh()), ("hidden", hidden), ("head", head));
            var centres = randn([3, 6], ScalarType.Float64);
            var labels = randint(0, 3, [Count]);
            X = centres.index_select(0, labels) + randn([Count, 6], ScalarType.Float64);
            var wrong = rand([Count]).lt(0.2).to_type(ScalarType.Int64);
            var given = (labels + (wrong * randint(1, 3, [Count]))).remainder(3);
            Pool = Examples.FromTensors(("x", X), ("y", given));
            var referenceLabels = randint(0, 3, [60]);
            Reference = Examples.FromTensors(
                ("x", centres.index_select(0, referenceLabels) + randn([60, 6], ScalarType.Float64)),
                ("y", referenceLabels)
            );
            Task = new InfluenceTask(Model) { TrainingLoss = b => Losses.CrossEntropy(Model.call(b["x"]), b["y"]) };
            using var sgd = optim.SGD(Model.parameters(), 0.2);
            for (var step = 0; step < 30; step++)
            {
                using var inner = NewDisposeScope();
                sgd.zero_grad();
                Backward();
                sgd.step();
            }

            Model.zero_grad();
        }

        public Composite Model { get; }

        public Tensor X { get; }

        public Examples Pool { get; }

        public Examples Reference { get; }

        public InfluenceTask Task { get; }

        public Func<nn.Module, optim.Optimizer> Optimizer => model => optim.SGD(model.parameters(), 0.05);

        /// <summary>The inputs, and the inputs in the columns of the label.</summary>
        public InfluenceFeatures Inputs { get; } =
            InfluenceFeatures.Of(b =>
            {
                var label = nn.functional.one_hot(b["y"], 3).to_type(ScalarType.Float64); // [B, 3]
                return cat([b["x"], label, (label.unsqueeze(2) * b["x"].unsqueeze(1)).reshape(b.Count, -1)], 1);
            });

        public void Backward()
        {
            foreach (var batch in Pool.Batches().Take(1))
            {
                Task.TrainingLoss(batch).mean().backward();
            }
        }

        public void Dispose()
        {
            Model.Dispose();
            _scope.Dispose();
        }
    }
}
