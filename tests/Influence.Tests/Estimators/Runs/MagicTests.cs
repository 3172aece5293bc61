using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>The adjoint of a run against figures worked out apart, finite differences of retraining, and TorchSharp's optimizers.</summary>
public sealed class MagicTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void AdamWOfThreeSteps() =>
        AssertVisits(
            new Magic.AdamW { Beta2 = 0.99, WeightDecay = 0.1 },
            [0.1, 0.1, 0.05],
            [0.00675065, 0.00931998, 0.00399149, -0.02363941, 0.00131046, 0.00226684]
        );

    [Fact]
    public void AdamWOfThreeStepsByTheFisherMatrix() =>
        AssertVisits(
            new Magic.AdamW { Beta2 = 0.99, WeightDecay = 0.1 },
            [0.1, 0.1, 0.05],
            [0.00675341, 0.00933137, 0.00399305, -0.02365511, 0.00131046, 0.00226684],
            Magic.Approximation.EmpiricalFisher
        );

    [Fact]
    public void ValueEmbeddingsOfThreeSteps()
    {
        // Gradients 1, root 2, root 2, the query's 3: .1 (1 - .1 2)^2 3. The true Hessian is 0.
        var model = nn.Linear(1, 1, hasBias: false, dtype: ScalarType.Float64);
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).squeeze(1) };
        var train = Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 1 },
                        { Math.Sqrt(2) },
                        { Math.Sqrt(2) },
                    }
                )
            )
        );
        var queries = Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 3.0 },
                    }
                )
            )
        );
        var run = new Magic
        {
            Batches =
            [
                [0],
                [1],
                [2],
            ],
            LearningRates = [0.1],
            Update = new Magic.Sgd(),
            Curvature = Magic.Approximation.EmpiricalFisher,
        };
        Assert.Equal(0.192, run.ScoreVisits(task, train, queries)[0].Scores[0], 1e-12);
        Assert.Equal(0.3, (run with { Curvature = Magic.Approximation.Exact }).ScoreVisits(task, train, queries)[0].Scores[0], 1e-9);
    }

    [Theory]
    [InlineData(Magic.Approximation.Exact, 1e-8)]
    [InlineData(Magic.Approximation.EmpiricalFisher, 1e-13)]
    public void SumsAreMeansAtARateDivided(Magic.Approximation curvature, double tolerance)
    {
        var (_, task, train, queries) = Network();
        var mean = Run(false) with
        {
            Batches =
            [
                [0, 1, 2],
                [3, 4, 5],
                [0, 4, 2],
            ],
            Update = new Magic.Sgd { Momentum = 0.9 },
            ClipNorm = 0.3,
            Curvature = curvature,
        };
        using var expected = mean.Score(task, train, queries);
        using var found = (mean with { SumsLosses = true, ClipNorm = 0.9, LearningRates = [0.05 / 3] }).Score(task, train, queries);
        Assert.Equal(0, (expected.Values - found.Values).abs().max().item<double>(), tolerance);
        Assert.Contains(curvature == Magic.Approximation.Exact ? "Hessian" : "Fisher", found.Metadata.Curvature, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => mean with { Curvature = (Magic.Approximation)7 });
    }

    [Fact]
    public void MomentumOfThreeSteps() =>
        AssertVisits(
            new Magic.Sgd { Momentum = 0.9, WeightDecay = 0.01 },
            [0.2, 0.2, 0.1],
            [0.02154065, 0.03143750, 0.01630138, -0.00955160, 0.00473075, 0.00528455]
        );

    [Theory]
    [InlineData(true, null, false)]
    [InlineData(true, 0.3, false)]
    [InlineData(false, 0.3, false)]
    [InlineData(true, null, true)]
    [InlineData(false, null, true)]
    public void ScoresAreDerivativesOfRetraining(bool adam, double? clip, bool sums)
    {
        var (model, task, train, queries) = Network();
        var run = Run(adam) with { ClipNorm = clip, SumsLosses = sums };
        var before = model.state_dict().Values.Select(v => v.data<double>().ToArray()).ToList();
        using var scores = run.Score(task, train, queries);
        using var all = (run with { KeepEvery = 1 }).Score(task, train, queries);
        Assert.Equal(all.Values.data<double>().ToArray(), scores.Values.data<double>().ToArray());
        Assert.Equal(before, model.state_dict().Values.Select(v => v.data<double>().ToArray()).ToList());
        long[][] groups =
        [
            [0],
            [3],
            [1, 4],
        ];
        foreach (var group in groups)
        {
            double Measured(double h)
            {
                var end = run.FinalWeights(task, train, id => group.Contains(id) ? 1 + h : 1);
                using var noGrad = no_grad();
                var start = 0;
                foreach (var p in model.parameters())
                {
                    var n = (int)p.numel();
                    p.copy_(tensor(end[start..(start + n)]).reshape(p.shape));
                    start += n;
                }

                var value = task.TrainingLoss(ExampleBatch.Of([0], ("x", _x!.narrow(0, 6, 1)), ("y", _y!.narrow(0, 6, 1)))).item<double>();
                foreach (var (p, old) in model.state_dict().Values.Zip(before))
                {
                    p.copy_(tensor(old).reshape(p.shape));
                }

                return value;
            }

            // Adam bends sharply where a first gradient is small: at 1e-4 the difference itself is wrong in the fourth digit.
            var expected = -(Measured(1e-6) - Measured(-1e-6)) / 2e-6;
            Assert.Equal(expected, group.Sum(id => scores[0, (int)id]), 1e-7);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void StepsAreThoseOfTorchSharp(bool adam)
    {
        var (model, task, train, _) = Network();
        var run = Run(adam);
        var replayed = run.FinalWeights(task, train);
        optim.Optimizer optimizer = adam
            ? optim.AdamW(model.parameters(), lr: 0.05, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1)
            : optim.SGD(model.parameters(), 0.05, momentum: 0.9, weight_decay: 0.01);
        foreach (var ids in run.Batches)
        {
            optimizer.zero_grad();
            var index = tensor(ids.ToArray());
            (model.call(_x!.index_select(0, index)).squeeze(1) - _y!.index_select(0, index)).Squared().mean().backward();
            optimizer.step();
        }

        var trained = cat([.. model.parameters().Select(p => p.detach().reshape(-1))], 0).data<double>().ToArray();
        Assert.Equal(0, trained.Zip(replayed, (x, y) => Math.Abs(x - y)).Max(), 1e-12);
    }

    [Fact]
    public void SignsAgreeByTheWayThatTheyCover() =>
        Assert.Equal(0.904762, Magic.SignAgreement([0, 0, 0], [1, -1, 0.5], [2.5, -1.5, 0.2]), 5e-7);

    [Fact]
    public void QuadraticRunsAreSmooth()
    {
        var (_, _, train, _) = Network();
        var model = nn.Linear(3, 1, dtype: ScalarType.Float64);
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b["x"]).squeeze(1), b["y"]) };
        var before = model.weight.data<double>().ToArray();
        for (var seed = 0; seed < 4; seed++)
        {
            // The weights after one step of gradient descent are linear in those of the examples; after more steps, a polynomial.
            Assert.Equal(
                1,
                (
                    Run(false) with
                    {
                        Batches =
                        [
                            [0, 1, 2, 3],
                        ],
                    }
                ).Metasmoothness(task, train, seed: seed),
                1e-12
            );
            Assert.InRange(Run(false).Metasmoothness(task, train, seed: seed), 0.9, 1 + 1e-12);
        }

        Assert.Equal(before, model.weight.data<double>().ToArray());
        Assert.Equal(Run(false).Metasmoothness(task, train, 0.2, 7), Run(false).Metasmoothness(task, train, 0.2, 7));
        Assert.Throws<InfluenceException>(() => Run(false).Metasmoothness(task, train, 0));
        Assert.Contains(
            "same weights",
            Assert.Throws<InfluenceException>(() => (Run(false) with { LearningRates = [0] }).Metasmoothness(task, train)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void RunsThatLeapAreNotSmooth()
    {
        // 64 double wells; at a rate of .45 a step is the cubic map w = 2.8 w - 1.8 w^3, which is chaotic.
        random.manual_seed(5);
        var model = nn.Linear(64, 1, hasBias: false, dtype: ScalarType.Float64);
        var task = new InfluenceTask(model) { TrainingLoss = b => (model.weight.Squared() - 1).Squared().sum() * b["x"] };
        var train = Examples.FromTensors(("x", ones([2], ScalarType.Float64)));
        var leaps = new Magic
        {
            Update = new Magic.Sgd(),
            LearningRates = [0.45],
            Batches = [.. Enumerable.Repeat<IReadOnlyList<long>>([0, 1], 60)],
        };
        Assert.InRange(leaps.Metasmoothness(task, train, 1e-3), -0.6, 0.6);
        Assert.InRange((leaps with { LearningRates = [0.01] }).Metasmoothness(task, train, 1e-3), 0.95, 1 + 1e-12);
    }

    [Theory]
    [InlineData(Magic.Approximation.Exact)]
    [InlineData(Magic.Approximation.EmpiricalFisher)]
    public void TheStrongestAreThoseOfAllScores(Magic.Approximation curvature)
    {
        var (_, task, train, queries) = Network();
        IPairEstimator run = Run(true) with { Curvature = curvature };
        using var scores = run.Score(task, train, queries);
        var strongest = run.Strongest(3, task, train, queries);
        Assert.Equal((3, 6), (strongest.K, strongest.TrainCount));
        for (var q = 0; q < 2; q++)
        {
            Assert.Equal(scores.Proponents(q, 3).Select(r => (r.Id, r.Score)), strongest.Proponents(q).Select(r => (r.Id, r.Score)));
            Assert.Equal(scores.Opponents(q, 3).Select(r => (r.Id, r.Score)), strongest.Opponents(q).Select(r => (r.Id, r.Score)));
        }
    }

    [Theory]
    [InlineData(Magic.Approximation.Exact)]
    [InlineData(Magic.Approximation.EmpiricalFisher)]
    public void NoTensorOutlivesACall(Magic.Approximation curvature)
    {
        var (_, task, train, queries) = Network();
        var run = Run(true) with { Curvature = curvature, ClipNorm = 0.3 };
        var live = LiveTensors.OnThisThread;
        run.Score(task, train, queries).Dispose();
        run.ScoreVisits(task, train, queries);
        run.Metasmoothness(task, train);
        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => run.Score(task, train, queries, new Canceller(source), source.Token));
        Assert.Equal(live, LiveTensors.OnThisThread);
    }

    [Fact]
    public void CancelledCallsLeaveTheModel()
    {
        var (model, task, train, queries) = Network();
        var before = model.state_dict().Values.Select(v => v.data<double>().ToArray()).ToList();
        using var source = new CancellationTokenSource();
        var progress = new Canceller(source);
        Assert.Throws<OperationCanceledException>(() => Run(true).Score(task, train, queries, progress, source.Token));
        Assert.Equal(before, model.state_dict().Values.Select(v => v.data<double>().ToArray()).ToList());
    }

    [Fact]
    public void BadRunsAreRefused()
    {
        var (_, task, train, queries) = Network();
        Assert.Throws<InfluenceException>(() => Run(true) with { Batches = [] });
        Assert.Throws<InfluenceException>(() =>
            Run(true) with
            {
                Batches =
                [
                    [0],
                    [],
                ],
            }
        );
        Assert.Throws<InfluenceException>(() =>
            Run(true) with
            {
                Batches =
                [
                    [0, 0],
                ],
            }
        );
        Assert.Throws<InfluenceException>(() => Run(true) with { LearningRates = [double.NaN] });
        Assert.Throws<InfluenceException>(() =>
            (
                Run(true) with
                {
                    Batches =
                    [
                        [99],
                    ],
                }
            ).Score(task, train, queries)
        );
        Assert.Throws<InfluenceException>(() => (Run(true) with { LearningRates = [0.1, 0.1] }).Score(task, train, queries));
    }

    [Fact]
    public void RandomLossesAreRefused()
    {
        var (_, task, train, queries) = Network();
        var random = new InfluenceTask(task.Model) { TrainingLoss = b => task.TrainingLoss(b) * rand(1, ScalarType.Float64) };
        var thrown = Assert.Throws<InfluenceException>(() => Run(true).Score(random, train, queries));
        Assert.Contains("does not repeat itself", thrown.Message, StringComparison.Ordinal);

        // At a rate of 0 the weights are the same; the moments are not.
        thrown = Assert.Throws<InfluenceException>(() => (Run(true) with { LearningRates = [0] }).Score(random, train, queries));
        Assert.Contains("does not repeat itself", thrown.Message, StringComparison.Ordinal);
    }

    private Tensor? _x;
    private Tensor? _y;

    private static Magic Run(bool adam) =>
        new()
        {
            Batches =
            [
                [0, 1, 2],
                [3, 4, 5],
                [0, 4, 2],
                [1, 3, 5],
                [5, 0],
            ],
            LearningRates = [0.05],
            Update = adam ? new Magic.AdamW { Beta2 = 0.99, WeightDecay = 0.1 } : new Magic.Sgd { Momentum = 0.9, WeightDecay = 0.01 },
        };

    private (nn.Module<Tensor, Tensor> Model, InfluenceTask Task, Examples Train, Examples Queries) Network()
    {
        random.manual_seed(3);
        var model = nn.Sequential(nn.Linear(3, 4, dtype: ScalarType.Float64), nn.Tanh(), nn.Linear(4, 1, dtype: ScalarType.Float64));
        model.eval();
        (_x, _y) = (randn([8, 3], ScalarType.Float64), randn([8], ScalarType.Float64));
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b["x"]).squeeze(1), b["y"]) };
        return (
            model,
            task,
            Examples.FromTensors(("x", _x.narrow(0, 0, 6)), ("y", _y.narrow(0, 0, 6))),
            Examples.FromTensors(("x", _x.narrow(0, 6, 2)), ("y", _y.narrow(0, 6, 2)))
        );
    }

    private static void AssertVisits(
        Magic.UpdateRule update,
        double[] rates,
        double[] expected,
        Magic.Approximation curvature = Magic.Approximation.Exact
    )
    {
        var model = nn.Linear(2, 1, hasBias: false, dtype: ScalarType.Float64);
        using (no_grad())
        {
            model.weight.copy_(
                tensor(
                    new[,]
                    {
                        { 0.2, -0.1 },
                    }
                )
            );
        }

        var task = new InfluenceTask(model) { TrainingLoss = b => nn.functional.softplus(-b["y"] * model.call(b["x"]).squeeze(1)) };
        var train = Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 1, 0.5 },
                        { -0.5, 1 },
                        { 0.3, -1 },
                        { 1, 1 },
                    }
                )
            ),
            ("y", tensor(new[] { 1.0, -1, 1, -1 }))
        );
        var queries = Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 0.7, -0.4 },
                    }
                )
            ),
            ("y", tensor(new[] { 1.0 }))
        );
        var run = new Magic
        {
            Batches =
            [
                [0, 1],
                [2, 3],
                [0, 2],
            ],
            LearningRates = rates,
            Update = update,
            Curvature = curvature,
        };
        var found = run.ScoreVisits(task, train, queries).Select(v => v.Scores[0]).ToArray();
        Assert.Equal(expected.Length, found.Length);
        Assert.Equal(0, expected.Zip(found, (x, y) => Math.Abs(x - y)).Max(), 1.5e-8);
    }

    private sealed class Canceller(CancellationTokenSource source) : IProgress<InfluenceProgress>
    {
        public void Report(InfluenceProgress value)
        {
            if (value.Done > 20)
            {
                source.Cancel();
            }
        }
    }
}
