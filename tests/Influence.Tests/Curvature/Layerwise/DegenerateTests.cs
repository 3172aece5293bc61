using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Spectra with zeros, layers without gradients, gradients that are no numbers.</summary>
public class DegenerateTests
{
    public static TheoryData<string, bool> Deficient
    {
        get
        {
            var data = new TheoryData<string, bool>();
            foreach (var kind in new[] { "full rank", "dead units", "constant inputs", "duplicate features" })
            {
                data.Add(kind, true);
                data.Add(kind, false);
            }

            return data;
        }
    }

    /// <summary>
    /// Damping zero is the pseudo-inverse. The smallest eigenvalue that counts is about 1e-6 of the largest, which leaves
    /// ten digits of sixteen, squared by K-FAC's products of two spectra: eight are asked for the damped, six without.
    /// </summary>
    [Theory]
    [MemberData(nameof(Deficient))]
    public void ScoresAreThoseOfThePseudoInverse(string kind, bool measured)
    {
        using var scope = NewDisposeScope();
        var made = Made(kind);
        var train = made.Inputs(60);
        var examples = Examples.FromTensors(train);
        using LayerwisePreconditioner fit = measured
            ? Ekfac.Fit(made.Task(), examples, LayerwiseMethods.Empirical)
            : Kfac.Fit(made.Task(), examples, LayerwiseMethods.Empirical);
        var oracle = made.Oracle(train);

        foreach (var damping in new[] { Damping.Absolute(0), Damping.RelativeToMeanEigenvalue(0), Damping.Default })
        {
            var influence = new InfluenceFunction(fit) { Damping = damping, Tolerance = 0 };
            using var scores = influence.Score(made.Task(), examples, examples);
            var self = tensor(influence.SelfInfluence(made.Task(), examples).Values.ToArray());

            Assert.True(scores.Values.isfinite().all().item<bool>());
            var expected = oracle.Scores(measured, mean => damping.Value * mean, made.Model, made.Loss, TracedModel.One(train));
            var bound = damping.Value == 0 ? 1e-6 : 1e-8;
            var error = SingleExampleLoop.RelativeError(scores.Values, expected);
            Assert.True(error < bound, $"{damping}: relative error {error:E2}");
            Assert.True(SingleExampleLoop.RelativeError(self, expected.diagonal()) < bound);
        }
    }

    /// <summary>The rank that the pseudo-inverse sees: what was made degenerate is.</summary>
    [Theory]
    [InlineData("full rank", 0)]
    [InlineData("dead units", 0)]
    [InlineData("constant inputs", 1)]
    [InlineData("duplicate features", 1)]
    public void TheInputsAreAsDegenerateAsTheyAreMeantToBe(string kind, int missing)
    {
        using var scope = NewDisposeScope();
        var made = Made(kind);
        using var fit = Ekfac.Fit(made.Task(), Examples.FromTensors(made.Inputs(60)), LayerwiseMethods.Empirical);
        var block = fit.Blocks[0]!.Tensors().ToDictionary(t => t.Name, t => t.Value);
        var (input, output) = (block["input.values"], block["output.values"]);

        Assert.Equal(missing, input.le(input.max() * 1e-12).sum().item<long>());
        Assert.Equal(kind == "dead units" ? 2 : 0, output.le(output.max() * 1e-12).sum().item<long>());
    }

    [Fact]
    public void ALayerThatIsNeverReachedAddsNothing()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(61);
        var (used, idle) = (nn.Linear(4, 3, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var (alone, with) = (new Composite(used.call, ("used", used)), new Composite(used.call, ("used", used), ("idle", idle)));
        alone.eval();
        with.eval();
        var examples = Examples.FromTensors(randn([9, 4], dtype: float64), randint(0, 3, [9]));
        var messages = new Messages();
        foreach (var method in LayerwiseMethods.All)
        {
            Assert.Equal(Scores(alone, method).data<double>().ToArray(), Scores(with, method).data<double>().ToArray());
        }

        Tensor Scores(Composite model, string method)
        {
            var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]), Logger = messages };
            using var fit = LayerwiseMethods.Fit(method, task, examples);
            return new InfluenceFunction(fit).Score(task, examples, examples).Values;
        }
    }

    /// <summary>A layer whose gradients are all zero has no scale for a relative damping: it adds nothing, and that is said.</summary>
    [Fact]
    public void ALayerWithoutGradientsAddsNothingAndIsNamed()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(62);
        var (used, dead) = (nn.Linear(4, 3, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var model = new Composite(x => used.call(x) + (0 * dead.call(x)), ("used", used), ("dead", dead));
        model.eval();
        var examples = Examples.FromTensors(randn([9, 4], dtype: float64), randint(0, 3, [9]));
        var messages = new Messages();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]), Logger = messages };

        using var fit = Ekfac.Fit(task, examples);
        using var scores = new InfluenceFunction(fit).ScoreLayers(task, examples, examples);

        Assert.Equal(0, scores["dead.weight"].Values.abs().max().item<double>());
        Assert.NotEqual(0, scores["used.weight"].Values.abs().max().item<double>());
        Assert.Contains(messages.All, m => m.Contains("dead.weight, dead.bias", StringComparison.Ordinal));
    }

    /// <summary>Examples that reach a layer which those of the fit did not: H = 0 there, and an absolute damping is its own
    /// scale.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    [InlineData("diagonal Fisher")]
    public void AnAbsoluteDampingInvertsALayerWithoutCurvature(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(63);
        var (used, gated) = (nn.Linear(4, 3, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var model = new Composite(x => used.call(x[.., ..4]) + (x[.., 4..] * gated.call(x[.., ..4])), ("used", used), ("gated", gated));
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]) };
        var (x, y) = (randn([9, 4], dtype: float64), randint(0, 3, [9]));
        using var fit = LayerwiseMethods.Fit(method, task, Examples.FromTensors(cat([x, zeros([9, 1], dtype: float64)], 1), y));
        var open = cat([x, ones([9, 1], dtype: float64)], 1);
        var examples = Examples.FromTensors(open, y);

        using var scores = new InfluenceFunction(fit) { Damping = Damping.Absolute(0.5), Tolerance = 0 }.ScoreLayers(
            task,
            examples,
            examples
        );
        using var relative = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(task, examples, examples);

        var g = SingleExampleLoop.Gradients(
            model,
            t => Losses.CrossEntropy(model.call(t[0]), t[1]),
            [open, y],
            n => n.StartsWith("gated", StringComparison.Ordinal)
        );
        Assert.True(SingleExampleLoop.RelativeError(scores["gated.weight"].Values, g.mm(g.t()) / 0.5) < 1e-12);
        Assert.Equal(0, relative["gated.weight"].Values.abs().max().item<double>());
    }

    /// <summary>The loss is finite, and its gradient at one example is 0/0, in every form that a gradient has.</summary>
    [Theory]
    [InlineData("linear", "EK-FAC")]
    [InlineData("conv2d", "K-FAC")]
    [InlineData("conv2d grouped", "EK-FAC")]
    [InlineData("embedding", "EK-FAC")]
    [InlineData("batch norm eval", "diagonal Fisher")]
    [InlineData("layer norm", "EK-FAC")]
    [InlineData("raw parameter", "EK-FAC")]
    [InlineData("norm alone", "EK-FAC")]
    [InlineData("norm alone", "diagonal Fisher")]
    public void AGradientThatIsNoNumberIsNamed(string name, string method)
    {
        using var scope = NewDisposeScope();
        var made = name == "norm alone" ? Cases.Make("layer norm") : Cases.Make(name);
        var model = (nn.Module<Tensor, Tensor>)made.Model;
        var inputs = made.Inputs(7);
        var on = tensor(new double[] { 1, 1, 1, 1, 0, 1, 1 });
        long[] ids = [10, 11, 12, 13, 14, 15, 16];
        var examples = Examples.FromTensors(inputs[0], on) with { Ids = ids, BatchSize = 3 };
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => (model.call(b[0]).Squared().flatten(1).sum(1) * b[1]).sqrt(),
            Layers = name == "norm alone" ? LayerSelection.Where(n => n.StartsWith("1.", StringComparison.Ordinal)) : LayerSelection.All,
        };

        var thrown = Assert.Throws<InfluenceException>(() => LayerwiseMethods.Fit(method, task, examples).Dispose());

        Assert.Equal([14], thrown.ExampleIds);
        Assert.Contains("14", thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(-1e-9)]
    [InlineData(double.PositiveInfinity)]
    public void ADampingThatIsNoneIsRefused(double value)
    {
        Assert.Throws<InfluenceException>(() => Damping.Absolute(value));
        Assert.Throws<InfluenceException>(() => Damping.RelativeToMeanEigenvalue(value));
    }

    /// <summary>The small MLP with a squared error, which leaves no direction of the outputs out, and degenerate inputs or units.</summary>
    private static TracedModel Made(string kind)
    {
        var plain = TracedModel.Make("mlp");
        var first = (TorchSharp.Modules.Linear)plain.Model.named_modules().Single(m => m.name == "first").module;
        var second = (TorchSharp.Modules.Linear)plain.Model.named_modules().Single(m => m.name == "second").module;
        var model = new Composite(
            x => plain.Trace.Call("second", second, plain.Trace.Call("first", first, x).relu()),
            ("first", first),
            ("second", second)
        );
        model.eval();
        using (no_grad())
        {
            // Every unit is on for some examples and off for others, but for the dead ones.
            first.bias!.fill_(0.3);
            if (kind == "dead units")
            {
                first.bias.narrow(0, 2, 2).fill_(-100);
            }
        }

        return plain with
        {
            Model = model,
            Loss = t => ModelCase.SquaredNorm(model.call(t[0]), t[1]),
            Inputs = n =>
            {
                var x = randn([n, 5], dtype: float64);
                switch (kind)
                {
                    case "constant inputs":
                        x.select(1, 3).fill_(1.5);
                        break;
                    case "duplicate features":
                        x.select(1, 3).copy_(x.select(1, 0));
                        break;
                }

                return [x, randn([n, 3], dtype: float64)];
            },
        };
    }
}
