using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>SOURCE: its closed forms, its limits, and a scalar model by hand.</summary>
public sealed class SourceTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Two segments, eta 0.1, K 10, curvature 0.5 and 1, gradients 2 and 1, N 4.</summary>
    [Fact]
    public void TheClosedFormsOfAScalar()
    {
        using var scope = NewDisposeScope();
        static double Response(double h) => Source.Response(1, 0)(tensor(new[] { h })).item<double>();
        var (r1, r2) = (Response(0.5) * 2 / 4, Response(1) * 1 / 4);
        var decay = Source.Decay(1, 0)(tensor(new[] { 1.0 })).item<double>();

        Assert.Equal(0.393469, r1, 6);
        Assert.Equal(0.158030, r2, 6);
        Assert.Equal(0.367879, decay, 6);
        Assert.Equal(0.302779, (decay * r1) + r2, 6);

        // Without curvature a segment is eta K. Where the series takes over, at 1e-4, both forms agree to their rounding, 1e-12:
        // between the two points lie 2e-9, of which the value falls by half.
        Assert.Equal(1, Response(0), 12);
        Assert.Equal(Response(0.99999e-4), Response(1.00001e-4) + 1e-9, 11);
    }

    [Fact]
    public void TwoSegmentsOfAScalarModelByHand()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(1, 1, hasBias: false, dtype: ScalarType.Float64);
        using var model = new Composite(layer.call, ("layer", layer));
        model.eval();
        double[] x = [1, -2, 0.5],
            y = [0.3, 1, -1],
            w = [0.9, 0.4, 0.2];
        var train = Examples.FromTensors(("x", tensor(x).unsqueeze(1)), ("y", tensor(y).unsqueeze(1)));
        var query = Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 1.5 },
                    }
                )
            ),
            (
                "y",
                tensor(
                    new[,]
                    {
                        { 0.1 },
                    }
                )
            )
        );
        var task = new InfluenceTask(model) { TrainingLoss = b => (model.call(b["x"]) - b["y"]).Squared().sum(1) * 0.5 };
        Checkpoint[] checkpoints =
        [
            .. w.Select(
                (value, k) =>
                {
                    using var noGrad = no_grad();
                    layer.weight!.fill_(value);
                    return Checkpoint.Save(_folder.Path($"{k}.safetensors"), model, 0.1, k + 1);
                }
            ),
        ];
        var source = new Source([new([checkpoints[0]], 7, 0.2), new([checkpoints[1], checkpoints[2]], 5, 0.1)])
        {
            Momentum = 0.5,
            Curvature = new Ekfac.Options { Fisher = Fisher.Empirical },
        };

        using var scores = source.Score(task, train, query);

        double Gradient(double at, double a, double b) => ((at * a) - b) * a;
        double Curvature(params double[] at) => at.Average(v => x.Zip(y).Average(z => Math.Pow(Gradient(v, z.First, z.Second), 2)));
        var (h1, h2, rate1, rate2) = (Curvature(w[0]), Curvature(w[1], w[2]), 0.2 * 7 / 0.5, 0.1 * 5 / 0.5);
        var f = Gradient(w[2], 1.5, 0.1);
        for (var i = 0; i < 3; i++)
        {
            var late = (1 - Math.Exp(-rate2 * h2)) / h2 * (Gradient(w[1], x[i], y[i]) + Gradient(w[2], x[i], y[i])) / 2;
            var early = Math.Exp(-rate2 * h2) * (1 - Math.Exp(-rate1 * h1)) / h1 * Gradient(w[0], x[i], y[i]);
            Assert.Equal(f * (early + late), scores[0, i], 10);
        }

        Assert.Equal(1 / 3.0, scores.Metadata.LeaveOneOutFactor);
        Assert.Equal(0.2, layer.weight!.item<double>(), 12);
    }

    [Fact]
    public void OneStationarySegmentInTwoIsTheSame()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var here = Here(c);

        using var one = new Source([Segment(here, 60, 0.1)]).Score(c.Task(), c.Train, c.Queries);
        using var two = new Source([Segment(here, 40, 0.1), Segment(here, 20, 0.1)]).Score(c.Task(), c.Train, c.Queries);
        using var twice = new Source([new([here, here], 60, 0.1)]) { Curvature = new() { Fisher = Fisher.Empirical } }.Score(
            c.Task(),
            c.Train,
            c.Queries
        );
        using var once = new Source([new([here], 60, 0.1)]) { Curvature = new() { Fisher = Fisher.Empirical } }.Score(
            c.Task(),
            c.Train,
            c.Queries
        );

        // Float64 throughout: rounding only.
        AssertEqual(one.Values, two.Values, 1e-9);
        AssertEqual(once.Values, twice.Values, 1e-9);
    }

    [Fact]
    public void FewStepsAreTracIn()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var source = new Source([Segment(Here(c), 1, 1e-7)]).Score(c.Task(), c.Train, c.Queries);

        // The next order is the rate times an eigenvalue of order one: relative 1e-7.
        AssertEqual(c.QueryGradients().mm(c.TrainGradients().t()), source.Values / 1e-7, 1e-5);
    }

    [Fact]
    public void ManyStepsWithWeightDecayAreTheDampedInfluenceFunction()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var ekfac = Ekfac.Fit(c.Task(), c.Train);
        using var expected = new InfluenceFunction(ekfac) { Damping = Damping.Absolute(0.1), Tolerance = 0 }.Score(
            c.Task(),
            c.Train,
            c.Queries
        );

        // exp(-0.1 * 1000) = 4e-44 of the queries is left.
        using var source = new Source([Segment(Here(c), 10_000, 0.1)]) { WeightDecay = 0.1 }.Score(c.Task(), c.Train, c.Queries);

        AssertEqual(expected.Values, source.Values, 1e-9);
    }

    [Theory]
    [InlineData("conv2d grouped")]
    [InlineData("tied embedding and head")]
    [InlineData("batch norm eval")]
    [InlineData("attention causal")]
    public void EveryKindOfBlock(string name)
    {
        using var scope = NewDisposeScope();
        var model = Cases.Make(name);
        var train = Examples.FromTensors(model.Inputs(6));
        var queries = Examples.FromTensors(model.Inputs(2));
        var here = Checkpoint.Save(_folder.Path("here.safetensors"), model.Model, 0.1, 50);
        var task = model.Task();
        var options = new Ekfac.Options { Fisher = Fisher.Empirical };
        using var ekfac = Ekfac.Fit(task, train, options);
        using var expected = new InfluenceFunction(ekfac) { Damping = Damping.Absolute(0.1), Tolerance = 0 }.Score(task, train, queries);

        using var source = new Source([Segment(here, 10_000, 0.1)]) { WeightDecay = 0.1, Curvature = options }.Score(task, train, queries);

        AssertEqual(expected.Values, source.Values, 1e-8);
    }

    [Fact]
    public void TheModelIsAsBeforeAlsoAfterACancellation()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var here = Here(c);
        using (no_grad())
        {
            c.Hidden.weight.mul_(1.5);
        }

        var state = ModelState.Of(c.Model, c.X);
        using (new Source([Segment(here, 10, 0.1)]).Score(c.Task(), c.Train, c.Queries))
        {
            state.AssertUnchanged(c.Model, c.X);
        }

        using var cancellation = new CancellationTokenSource();
        var live = LiveTensors.OnThisThread;
        Assert.Throws<OperationCanceledException>(() =>
            new Source([Segment(here, 10, 0.1)]).Score(
                c.Task(),
                c.Train,
                c.Queries,
                new Reports(_ => cancellation.Cancel()),
                cancellation.Token
            )
        );
        Assert.Equal(live, LiveTensors.OnThisThread);
        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void SegmentsOfARun()
    {
        using var c = new Classifier();
        Checkpoint[] run =
        [
            .. new[] { 10, 30, 40, 70, 90 }.Select(step =>
                Checkpoint.Save(_folder.Path($"{step}.safetensors"), c.Model, step / 100.0, step)
            ),
        ];

        var segments = Source.Segment.Split(run, 2);

        Assert.Equal([30, 60], segments.Select(s => s.Steps));
        Assert.Equal(
            [
                [10, 30],
                [40, 70, 90],
            ],
            segments.Select(s => s.Checkpoints.Select(k => k.Step))
        );
        Assert.Equal(0.2, segments[0].LearningRate, 12);
        Assert.Throws<InfluenceException>(() => Source.Segment.Split(run, 6));
        Assert.Throws<InfluenceException>(() => Source.Segment.Split([run[1], run[0]], 1));
        Assert.Throws<InfluenceException>(() => new Source([]));
        Assert.Throws<InfluenceException>(() => new Source([new([run[0]], 0, 0.1)]));
    }

    private static Source.Segment Segment(Checkpoint checkpoint, long steps, double rate) => new([checkpoint], steps, rate);

    private static void AssertEqual(Tensor expected, Tensor actual, double relative)
    {
        var error = (expected - actual).abs().max().item<double>() / expected.abs().max().item<double>();
        Assert.True(error < relative, $"relative error {error}");
    }

    private Checkpoint Here(Classifier c) => Checkpoint.Save(_folder.Path("here.safetensors"), c.Model, 0.1, 100);
}
