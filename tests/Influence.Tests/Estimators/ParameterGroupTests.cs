using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Recipes;
using Influence.Tests.Groups;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Parameter groups with learning rates of their own: whoever reads a rate reads each parameter's.</summary>
public sealed class ParameterGroupTests : IDisposable
{
    private static readonly Dictionary<string, double> Rates = new()
    {
        ["hidden.weight"] = 0,
        ["hidden.bias"] = 0.3,
        ["head.weight"] = 0.02,
        ["head.bias"] = 0.5,
        ["gate.weight"] = 0.07,
    };

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly Composite _model;
    private readonly Tensor[] _train;
    private readonly Tensor[] _queries;

    public ParameterGroupTests()
    {
        random.manual_seed(5);

        // PReLU has no layer rule: its parameter goes by single examples.
        var (hidden, head, gate) = (nn.Linear(3, 5, dtype: float64), nn.Linear(5, 3, dtype: float64), nn.PReLU(5, dtype: float64));
        _model = new Composite(x => head.call(gate.call(hidden.call(x))), ("hidden", hidden), ("head", head), ("gate", gate));
        _model.eval();
        _train = [randn([9, 3], dtype: float64), randint(0, 3, [9])];
        _queries = [randn([4, 3], dtype: float64), randint(0, 3, [4])];
    }

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TracInWeighsEachParameterByItsOwnRate(bool reread)
    {
        using var scope = NewDisposeScope();
        var checkpoint = Saved(Grouped());
        checkpoint = reread ? Checkpoint.FromFile(checkpoint.FilePath) : checkpoint;
        Assert.Equal(0.5, checkpoint.LearningRate);
        Assert.All(Rates, pair => Assert.Equal(pair.Value, checkpoint.LearningRateOf(pair.Key)));

        var (g, f, eta) = (Gradients(_train), Gradients(_queries), Eta(Rates));
        var tracIn = new TracIn { Checkpoints = [checkpoint] };
        using var scores = tracIn.Score(Task(), Examples(_train), Examples(_queries) with { BatchSize = 2 });
        using var cosines = (tracIn with { Similarity = TracIn.GradientSimilarity.Cosine }).Score(
            Task(),
            Examples(_train),
            Examples(_queries)
        );
        var self = tracIn.SelfInfluence(Task(), Examples(_train));

        var expected = (f * eta).mm(g.t());
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(cosines.Values, expected / f.norm(1, keepdim: true) / g.norm(1)) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(tensor(self.Values.ToArray()), (g.Squared() * eta).sum(1)) < 1e-10);
        Assert.Contains("0.02 to 0.5 by parameter", scores.Metadata.Checkpoints, StringComparison.Ordinal);

        var (groups, halves) = (GroupOracle.Mixed(Examples(_train)), GroupOracle.Halves(Examples(_queries)));
        var summed = new GroupInfluence(tracIn).Score(Task(), Examples(_train), groups, Examples(_queries), halves);
        GroupOracle.AssertEqual(GroupOracle.Sums(scores, groups, halves), summed);
    }

    /// <summary>A parameter that is frozen when the checkpoint is saved, or that no optimizer holds, is not moved by the step.</summary>
    [Fact]
    public void WhatIsNotTrainedCountsForNothing()
    {
        using var scope = NewDisposeScope();
        var (hidden, head) = (_model.get_parameter("hidden.weight")!, _model.get_parameter("head.weight")!);
        hidden.requires_grad = false;
        var checkpoint = Saved(optim.SGD([hidden, head], 0.1));
        hidden.requires_grad = true;

        using var scores = new TracIn { Checkpoints = [checkpoint] }.Score(Task(), Examples(_train), Examples(_queries));

        var eta = Eta(Rates.Keys.ToDictionary(name => name, name => name == "head.weight" ? 0.1 : 0));
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, (Gradients(_queries) * eta).mm(Gradients(_train).t())) < 1e-10);
        var foreign = nn.Linear(3, 5, dtype: float64);
        Assert.Contains(
            "none of the model's parameters",
            Assert.Throws<InfluenceException>(() => Saved(optim.SGD(foreign.parameters(), 0.1))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void SeveralOptimizersAreRecordedTogether()
    {
        using var recorder = new CheckpointRecorder(_folder.Path("run")) { EverySteps = 1 };
        recorder.Step(_model, optim.SGD(Named("hidden"), 0.1), optim.AdamW(Named("head"), 0.2));
        Assert.Equal([0.1, 0.2, 0], new[] { "hidden.bias", "head.weight", "gate.weight" }.Select(recorder.Checkpoints[0].LearningRateOf));
        Assert.Throws<ArgumentNullException>(() => recorder.Save(_model));
    }

    [Fact]
    public void RatesOfAnotherToolByName()
    {
        var path = Checkpoint.Save(_folder.Path("old"), _model, 0.25).FilePath;
        Assert.All(Rates.Keys, name => Assert.Equal(0.25, Checkpoint.FromFile(path).LearningRateOf(name)));
        Assert.Equal(0.5, Checkpoint.FromFile(path, name => Rates[name]).LearningRateOf("head.bias"));
        Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path, _ => double.NaN));
        Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path, _ => -1));
    }

    /// <summary>Two layers of one weight each: for each its own closed form, with its own rate, momentum and weight decay.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SourceTakesEachParametersOwnRateMomentumAndDecay(bool recorded)
    {
        using var scope = NewDisposeScope();
        using var first = nn.Linear(1, 1, hasBias: false, dtype: float64);
        using var second = nn.Linear(1, 1, hasBias: false, dtype: float64);
        using var model = new Composite(x => second.call(first.call(x)), ("first", first), ("second", second));
        model.eval();
        double[] x = [1, -2, 0.5],
            y = [0.3, 1, -1];
        (double First, double Second)[] at = [(0.9, 0.4), (0.5, 0.6)];
        var train = Influence.Examples.FromTensors(("x", tensor(x).unsqueeze(1)), ("y", tensor(y).unsqueeze(1)));
        var query = Influence.Examples.FromTensors(
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
        SGD.ParamGroup Group(Linear layer, double rate, double momentum, double decay) =>
            new(
                layer.parameters(),
                new SGD.Options
                {
                    LearningRate = rate,
                    InitialLearningRate = rate,
                    momentum = momentum,
                    weight_decay = decay,
                    dampening = 0,
                }
            );
        var optimizer = optim.SGD([Group(first, 0.01, 0.5, 0.2), Group(second, 0.2, 0, 0)], 0.05);
        List<Checkpoint> run =
        [
            .. at.Select(
                (w, k) =>
                {
                    using var noGrad = no_grad();
                    first.weight!.fill_(w.First);
                    second.weight!.fill_(w.Second);
                    return Checkpoint.Save(_folder.Path($"{k}"), model, optimizer, 5 * (k + 1));
                }
            ),
        ];
        var source = new Source(Source.Segment.Split(run, 2)) { Curvature = new Ekfac.Options { Fisher = Fisher.Empirical } };

        using var scores = (recorded ? source : With(source, momentum: 0.75, decay: 0.1)).Score(task, train, query);

        for (var i = 0; i < 3; i++)
        {
            var expected = 0.0;
            foreach (var (rate, momentum, decay, isFirst) in new[] { (0.01, 0.5, 0.2, true), (0.2, 0.0, 0.0, false) })
            {
                double Gradient((double First, double Second) w, double a, double b) =>
                    ((w.First * w.Second * a) - b) * a * (isFirst ? w.Second : w.First);
                double Curvature((double, double) w) =>
                    x.Zip(y).Average(z => Math.Pow(Gradient(w, z.First, z.Second), 2)) + (recorded ? decay : 0.1);
                var (length, h1, h2) = (5 * rate / (1 - (recorded ? momentum : 0.75)), Curvature(at[0]), Curvature(at[1]));
                var late = (1 - Math.Exp(-length * h2)) / h2 * Gradient(at[1], x[i], y[i]);
                var early = Math.Exp(-length * h2) * (1 - Math.Exp(-length * h1)) / h1 * Gradient(at[0], x[i], y[i]);
                expected += Gradient(at[1], 1.5, 0.1) * (early + late);
            }

            Assert.Equal(expected, scores[0, i], 1e-10);
        }

        // One rate for all where the recorded ones differ would weigh one of the layers wrongly.
        Assert.Contains(
            "differ by parameter",
            Assert.Throws<InfluenceException>(() => new Source([new([run[0]], 5, 0.1)])).Message,
            StringComparison.Ordinal
        );

        Source With(Source from, double momentum, double decay) =>
            new(Source.Segment.Split(run, 2))
            {
                Curvature = from.Curvature,
                Momentum = momentum,
                WeightDecay = decay,
            };
    }

    /// <summary>Cut into blocks by rate, SOURCE still is TracIn where steps are few.</summary>
    [Fact]
    public void SourceOfFewStepsIsTracIn()
    {
        using var scope = NewDisposeScope();
        var small = Rates.ToDictionary(r => r.Key, r => r.Value * 1e-8);
        var path = Checkpoint.Save(_folder.Path("c"), _model, 1, step: 1).FilePath;
        var checkpoint = Checkpoint.FromFile(path, name => small[name]);
        using var source = new Source([new([checkpoint], 1)]) { Curvature = new Ekfac.Options { Fisher = Fisher.Empirical } }.Score(
            Task(),
            Examples(_train),
            Examples(_queries)
        );
        using var tracIn = new TracIn { Checkpoints = [checkpoint] }.Score(Task(), Examples(_train), Examples(_queries));
        Assert.True(SingleExampleLoop.RelativeError(source.Values, tracIn.Values) < 1e-6); // eta K times the curvature
    }

    /// <summary>The derivative of the target loss after each of two plain steps, by whole trainings with one example weighed up.</summary>
    [Fact]
    public void LearnabilityQualityIsTheDerivativeOfTheRun()
    {
        using var scope = NewDisposeScope();
        var rates = Rates.ToDictionary(r => r.Key, r => r.Value + 0.05);
        var start = _model.named_parameters().ToDictionary(p => p.name, p => p.parameter.detach().clone());
        var run = new List<Checkpoint>();
        Train(0, 0, save: true);

        var scores = new LearnabilityQuality { Checkpoints = run, DivideByNorm = false }.Score(
            Task(),
            Examples(_train),
            Examples(_queries)
        );

        const double Step = 1e-4;
        for (var n = 0; n < 4; n++)
        {
            var derivative = (Train(n, Step) - Train(n, -Step)) / (2 * Step);
            // differences: an error of the step's square
            Assert.Equal(-derivative / rates.Values.Max(), scores[n], 1e-5 * Math.Abs(scores[n]));
        }

        double Train(int example, double extra, bool save = false)
        {
            using var one = NewDisposeScope();
            using (no_grad())
            {
                _model.named_parameters().ToList().ForEach(p => p.parameter.copy_(start[p.name]));
            }

            var total = 0.0;
            for (var t = 0; t <= 2; t++)
            {
                if (save)
                {
                    run.Add(Checkpoint.FromFile(Checkpoint.Save(_folder.Path($"run-{t}"), _model, 1, t).FilePath, name => rates[name]));
                }

                using (no_grad())
                {
                    total += t == 0 ? 0 : PlainLoss(_queries).mean().item<double>();
                }

                _model.zero_grad();
                var losses = PlainLoss(_train);
                (losses.mean() + (losses[example] * extra)).backward();
                using var noGrad = no_grad();
                _model.named_parameters().ToList().ForEach(p => p.parameter.sub_(p.parameter.grad! * rates[p.name]));
            }

            _model.zero_grad();
            return total;
        }
    }

    [Fact]
    public void OnlineSelectionAndInRunValuesTakeEachParametersRate()
    {
        using var scope = NewDisposeScope();
        var (batch, validation) = (Batch(_train), Batch(_queries));
        var optimizer = Grouped();
        using var loop = TrainingGradients.Open(Task(), batch, validation);
        using var step = loop.Step(batch, validation);
        var choice = new OnlineSelection { Fraction = 0.5 }.Choose(step, optimizer);
        step.Accumulate();
        var values = new InRunValues();
        values.Add(step, optimizer);

        var eta = Eta(Rates);
        var (g, v) = (Gradients(_train), Gradients(_queries).mean([0]));
        var products = (g * eta).mv(v).data<double>().ToArray();
        var gram = (g * eta.Squared()).mm(g.t()).reshape(-1).data<double>().ToArray();
        var expected = OnlineSelection.Greedy(products, gram, 4, 1.0 / 4, 1);
        Assert.Equal(expected.Select(e => e.Position), choice.Positions);
        Assert.All(expected.Zip(choice.Gains), pair => Assert.Equal(pair.First.Gain, pair.Second, 1e-12));
        Assert.All(values.Scores().Values.Zip(products), pair => Assert.Equal(pair.Second / 9, pair.First, 1e-12));
    }

    /// <summary>A weight and its transposed view as a second parameter, each in a group of its own: rates, decay and Adam's moments are
    /// each one's own.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TwoParametersOverOneMemoryHaveTwoRates(bool adam)
    {
        using var scope = NewDisposeScope();
        var (encoder, decoder) = (nn.Linear(4, 4, dtype: float64), nn.Linear(4, 4, dtype: float64));
        using var memory = encoder.weight!.detach();
        decoder.weight = new Parameter(memory.t());
        var model = new Composite(x => decoder.call(encoder.call(x).tanh()), ("encoder", encoder), ("decoder", decoder));
        model.eval();
        Tensor Loss(ExampleBatch b) => (model.call(b["x"]) - b["x"]).Squared().sum(1);
        (string, Tensor)[] data = [("x", randn(7, 4, dtype: float64))];
        var task = new InfluenceTask(model) { TrainingLoss = Loss };
        var examples = Influence.Examples.FromTensors(data);
        var rates = new Dictionary<string, double>
        {
            ["encoder.weight"] = 0.3,
            ["encoder.bias"] = 0.3,
            ["decoder.weight"] = 0.02,
            ["decoder.bias"] = 0.02,
        };
        optim.Optimizer optimizer = adam
            ? optim.AdamW([
                new AdamW.ParamGroup(
                    encoder.parameters(),
                    new AdamW.Options
                    {
                        LearningRate = 0.3,
                        beta1 = 0.9,
                        beta2 = 0.999,
                        eps = 1e-8,
                        weight_decay = 0,
                        amsgrad = false,
                        maximize = false,
                        InitialLearningRate = 0.3,
                    }
                ),
                new AdamW.ParamGroup(
                    decoder.parameters(),
                    new AdamW.Options
                    {
                        LearningRate = 0.02,
                        beta1 = 0.9,
                        beta2 = 0.999,
                        eps = 1e-8,
                        weight_decay = 0,
                        amsgrad = false,
                        maximize = false,
                        InitialLearningRate = 0.02,
                    }
                ),
            ])
            : optim.SGD([new SGD.ParamGroup(encoder.parameters(), 0.3), new SGD.ParamGroup(decoder.parameters(), 0.02)], 0.01);
        var batch = ExampleBatch.Of([.. Enumerable.Range(0, 7).Select(i => (long)i)], data);

        // Names are in the order of the oracle's gradients.
        var order = model.named_parameters().Select(p => (p.name, p.parameter.numel())).ToList();
        Tensor Each(Func<string, Tensor> of) => cat([.. order.Select(p => of(p.name))], 0);
        Tensor RateOf(string name) => full([order.Single(p => p.name == name).Item2], rates[name], float64);
        var g = PlainAutograd.Gradients(model, Loss, data);
        var eta = Each(RateOf);

        // In-run values, before the optimizer's first step.
        using (var loop = TrainingGradients.Open(task, batch, batch))
        using (var step = loop.Step(batch, batch))
        {
            step.Accumulate();
            var values = new InRunValues();
            values.Add(step, optimizer);
            var mean = g.mean([0]);
            var divided = adam ? mean / (mean.abs() + 1e-8) : mean; // Adam's first step: the root of its own square
            var expected = adam ? g.mv(eta * mean / (mean.abs() + 1e-8)) : g.mv(eta * divided);
            Assert.True(SingleExampleLoop.RelativeError(tensor(values.Scores().Values.ToArray()), expected / 7) < 1e-9);
        }

        // TracIn over a checkpoint that the optimizer's first step left behind.
        optimizer.step();
        var checkpoint = Checkpoint.Save(_folder.Path("two"), model, optimizer, 1);
        Assert.All(rates, pair => Assert.Equal(pair.Value, checkpoint.LearningRateOf(pair.Key)));
        var after = PlainAutograd.Gradients(model, Loss, data);
        using var plain = new TracIn { Checkpoints = [checkpoint] }.Score(task, examples, examples);
        Assert.True(SingleExampleLoop.RelativeError(plain.Values, (after * eta).mm(after.t())) < 1e-9);
        if (adam)
        {
            using var directed = new TracIn { Checkpoints = [checkpoint], Direction = TracIn.UpdateDirection.Optimizer }.Score(
                task,
                examples,
                examples
            );
            var root = g.mean([0]).abs() + 1e-8; // sqrt(v / (1 - beta2)) after one step
            Assert.True(SingleExampleLoop.RelativeError(directed.Values, (after * (eta / root)).mm(after.t())) < 1e-8);
        }
    }

    /// <summary>LESS weighs each parameter's part by that parameter's own rate, and stored rows, which one number would weigh, are
    /// refused.</summary>
    [Theory]
    [InlineData(TracIn.UpdateDirection.Less, TracIn.GradientSimilarity.Dot)]
    [InlineData(TracIn.UpdateDirection.Less, TracIn.GradientSimilarity.Cosine)]
    [InlineData(TracIn.UpdateDirection.LessCode, TracIn.GradientSimilarity.Cosine)]
    public void LessWeighsEachParameterByItsOwnRate(TracIn.UpdateDirection direction, TracIn.GradientSimilarity similarity)
    {
        using var scope = NewDisposeScope();
        var rates = Rates.ToDictionary(r => r.Key, r => r.Value + 0.01);
        AdamW.ParamGroup Group(string name) =>
            new(
                [_model.get_parameter(name)!],
                new AdamW.Options
                {
                    LearningRate = rates[name],
                    InitialLearningRate = rates[name],
                    beta1 = 0.9,
                    beta2 = 0.999,
                    eps = 1e-8,
                    weight_decay = 0,
                    amsgrad = false,
                    maximize = false,
                }
            );
        var optimizer = optim.AdamW(rates.Keys.Select(Group));
        var names = _model.named_parameters().Select(p => p.name).ToList();
        var (expected, run) = (zeros([4, 9], dtype: float64), new List<Checkpoint>());
        var (first, second) = (zeros(1, dtype: float64), zeros(1, dtype: float64));
        for (var t = 1; t <= 2; t++)
        {
            optimizer.zero_grad();
            PlainLoss(_train).mean().backward();
            var mean = cat([.. _model.named_parameters().Select(p => p.parameter.grad!.reshape(-1))], 0);
            (first, second) = ((first * 0.9) + (mean * 0.1), (second * 0.999) + (mean.Squared() * 0.001));
            optimizer.step();
            run.Add(Checkpoint.Save(_folder.Path($"less{t}"), _model, optimizer, t));
            var (f, g) = (Gradients(_queries), Gradients(_train));
            var isCode = direction == TracIn.UpdateDirection.LessCode;
            var m = (first * 0.9) + (g * 0.1);
            var v = (second * 0.999) + (g.Squared() * 0.001);
            var step = isCode ? m / (v + 1e-8).sqrt() : m / (1 - Math.Pow(0.9, t + 1)) / ((v / (1 - Math.Pow(0.999, t + 1))).sqrt() + 1e-8);
            if (similarity == TracIn.GradientSimilarity.Cosine)
            {
                (f, step) = (f / f.norm(1, keepdim: true), step / step.norm(1, keepdim: true));
            }

            // Rates stay as they are, so the code's share of each of two checkpoints is a half.
            var weights = cat(
                [.. _model.named_parameters().Select(p => full([p.parameter.numel()], isCode ? 0.5 : rates[p.name], float64))],
                0
            );
            expected = expected + (f * weights).mm(step.t());
        }

        using var scores = new TracIn
        {
            Checkpoints = run,
            Direction = direction,
            Similarity = similarity,
        }.Score(Task(), Examples(_train), Examples(_queries));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-8);
        Assert.Equal(5, names.Count);
    }

    private SGD Grouped() => optim.SGD(Rates.Select(rate => new SGD.ParamGroup([_model.get_parameter(rate.Key)!], rate.Value)), 0.01);

    private Checkpoint Saved(optim.Optimizer optimizer)
    {
        using var recorder = new CheckpointRecorder(_folder.Path($"{Guid.NewGuid()}")) { EverySteps = 1 };
        recorder.Step(_model, optimizer);
        return recorder.Checkpoints[0];
    }

    private IEnumerable<Parameter> Named(string layer) =>
        _model.named_parameters().Where(p => p.name.StartsWith(layer, StringComparison.Ordinal)).Select(p => p.parameter);

    /// <summary>The rate of each element, in the order of the oracle's gradients.</summary>
    private Tensor Eta(Dictionary<string, double> rates) =>
        cat([.. _model.named_parameters().Select(p => full([p.parameter.numel()], rates[p.name], float64))], 0);

    private Tensor Gradients(Tensor[] data) => SingleExampleLoop.Gradients(_model, PlainLoss, data);

    private Tensor PlainLoss(Tensor[] data) => nn.functional.cross_entropy(_model.call(data[0]), data[1], reduction: nn.Reduction.None);

    private InfluenceTask Task() => new(_model) { TrainingLoss = b => PlainLoss([b["x"], b["y"]]) };

    private static Examples Examples(Tensor[] data) => Influence.Examples.FromTensors(("x", data[0]), ("y", data[1]));

    private static ExampleBatch Batch(Tensor[] data) =>
        ExampleBatch.Of([.. Enumerable.Range(0, (int)data[0].shape[0]).Select(i => (long)i)], ("x", data[0]), ("y", data[1]));
}
