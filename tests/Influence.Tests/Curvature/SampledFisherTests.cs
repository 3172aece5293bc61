using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Curvature;

/// <summary>The true Fisher from labels drawn from the model: what it converges to, and what its draws depend on.</summary>
public class SampledFisherTests
{
    /// <summary>Examples that are one and the same but for their ids; draws of 40,000 labels are off by about 1/200 of the norm.</summary>
    private const int Repeats = 40_000;

    /// <summary>Four times the expected deviation.</summary>
    private const double Deviation = 0.02;

    public static TheoryData<string> Kinds => ["softmax", "logistic", "squared error"];

    /// <summary>
    /// At one input the true Fisher is exactly a Kronecker product, of aa' with the Hessian of the loss by the outputs:
    /// diag(p) - pp', diag(p(1-p)), and 2I for the plain squared error.
    /// </summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void ConvergesToTheExactFisher(string kind)
    {
        using var scope = NewDisposeScope();
        var (task, layer) = Task(kind);
        var x = tensor(new double[,] { { 0.5, -1.0 } });
        var examples = Examples.FromTensors(("x", x.expand(Repeats, 2)), ("y", Targets(kind, Repeats))) with { BatchSize = 10_000 };
        using var fit = Kfac.Fit(task, examples);

        var tensors = fit.Blocks[0]!.Tensors().ToDictionary(t => t.Name, t => t.Value);
        var q = tensors["output.vectors.0"].kron(tensors["input.vectors.0"]);
        var matrix = q.mm(diag(tensors["output.values"].kron(tensors["input.values"]))).mm(q.t());

        var z = layer.call(x).detach().squeeze(0);
        var hessian = kind switch
        {
            "softmax" => diag(z.softmax(0)) - z.softmax(0).outer(z.softmax(0)),
            "logistic" => diag(z.sigmoid() * (1 - z.sigmoid())),
            _ => 2 * eye(3, dtype: float64),
        };
        var a = cat([x.squeeze(0), ones(1, dtype: float64)], 0);
        var exact = hessian.kron(a.outer(a));
        var error = ((matrix - exact).square().sum() / exact.square().sum()).sqrt().item<double>();
        Assert.True(error < Deviation, $"relative error {error:F4}");
    }

    /// <summary>Over several inputs: the diagonal of E[(diag(p) - pp') (x) aa'].</summary>
    [Fact]
    public void TheDiagonalConvergesOverSeveralInputs()
    {
        using var scope = NewDisposeScope();
        var (task, layer) = Task("softmax");
        var x = tensor(new double[,] { { 0.5, -1.0 }, { 2, 0.3 }, { -1, -1 }, { 0.1, 1.4 } });
        var examples = Examples.FromTensors(("x", x.repeat(Repeats / 4, 1)), ("y", Targets("softmax", Repeats))) with { BatchSize = 10_000 };
        using var fit = DiagonalFisher.Fit(task, examples);

        var p = layer.call(x).detach().softmax(1);
        var (expectedWeight, expectedBias) = ((p * (1 - p)).t().mm(x.square()) / 4, (p * (1 - p)).mean([0]));
        var parts = fit.Blocks[0]!.Tensors().Select(t => t.Value).ToArray();
        Assert.True(SingleExampleLoop.RelativeError(parts[0], expectedWeight.flatten()) < Deviation);
        Assert.True(SingleExampleLoop.RelativeError(parts[1], expectedBias) < Deviation);
    }

    /// <summary>The true Fisher does not know the data's labels; the empirical one does.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void TheDatasLabelsDoNotEnter(string kind)
    {
        using var scope = NewDisposeScope();
        var (task, _) = Task(kind);
        random.manual_seed(81);
        var (x, y) = (randn([20, 2], dtype: float64), Targets(kind, 20));
        var changed = kind == "softmax" ? 2 - y : 1 - y;
        foreach (var (fisher, same) in new[] { (Fisher.Sampled, true), (Fisher.Empirical, false) })
        {
            using var one = Ekfac.Fit(task, Examples.FromTensors(("x", x), ("y", y)), new() { Fisher = fisher });
            using var other = Ekfac.Fit(task, Examples.FromTensors(("x", x), ("y", changed)), new() { Fisher = fisher });
            Assert.Equal(same, one.MeanEigenvalues[0].MeanEigenvalue == other.MeanEigenvalues[0].MeanEigenvalue);
            Assert.Contains(same ? "sampled" : "empirical", one.Info.Matrix, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    [InlineData("diagonal Fisher")]
    public void SeedsDecideAndBatchesDoNot(string method)
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make("attention");
        var train = made.Inputs(11);
        long[] order = [3, 9, 0, 10, 4, 1, 8, 2, 7, 6, 5];
        var index = tensor(order);
        var examples = Examples.FromTensors(train);
        var permuted = Examples.FromTensors([.. train.Select(t => t.index_select(0, index))]) with { Ids = order, BatchSize = 4 };

        var expected = Scores(examples, seed: 5);

        // Float64: other sums, the same labels.
        Assert.True(SingleExampleLoop.RelativeError(Scores(examples with { BatchSize = 1 }, 5), expected) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(Scores(examples with { BatchSize = 3 }, 5), expected) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(Scores(permuted, 5), expected) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(Scores(examples, 6), expected) > 1e-3);

        Tensor Scores(Examples fitted, long seed)
        {
            using var fit = LayerwiseMethods.Fit(method, made.Task(), fitted, new CurvatureOptions { Seed = seed });
            Assert.Equal(seed, fit.Info.Seed);
            return new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), examples, examples).Values;
        }
    }

    [Fact]
    public void ALossOfOnesOwnIsRefusedWithTheLineToWrite()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var task = new InfluenceTask(c.Model) { TrainingLoss = b => c.PlainLoss([b["x"], b["y"]]) };

        var thrown = Assert.Throws<InfluenceException>(() => Ekfac.Fit(task, c.Train));

        Assert.Contains("SampledLoss = (b, draw) =>", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("Fisher.Empirical", thrown.Message, StringComparison.Ordinal);
        using var empirical = Ekfac.Fit(task, c.Train, new() { Fisher = Fisher.Empirical });
    }

    /// <summary>The same draws, the same loss: a sampled loss of one's own equals what <see cref="Losses"/> do.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void ASampledLossOfOnesOwn(string kind)
    {
        using var scope = NewDisposeScope();
        var (task, layer) = Task(kind);
        var own = new InfluenceTask(task.Model)
        {
            TrainingLoss = b => kind switch
            {
                "softmax" => F.cross_entropy(layer.call(b["x"]), b["y"], reduction: nn.Reduction.None),
                "logistic" => F.binary_cross_entropy_with_logits(layer.call(b["x"]), b["y"], reduction: nn.Reduction.None).sum(1),
                _ => ModelCase.SquaredNorm(layer.call(b["x"]), b["y"]),
            },
            SampledLoss = (b, draw) =>
            {
                var z = layer.call(b["x"]);
                return kind switch
                {
                    "softmax" => F.cross_entropy(z, draw.Categorical(z), reduction: nn.Reduction.None),
                    "logistic" => F.binary_cross_entropy_with_logits(z, draw.Bernoulli(z), reduction: nn.Reduction.None).sum(1),
                    _ => ModelCase.SquaredNorm(z, draw.Normal(z, Math.Sqrt(0.5))),
                };
            },
        };
        random.manual_seed(82);
        var examples = Examples.FromTensors(("x", randn([20, 2], dtype: float64)), ("y", Targets(kind, 20)));
        using var library = Ekfac.Fit(task, examples, new() { Seed = 9 });
        using var ours = Ekfac.Fit(own, examples, new() { Seed = 9 });

        // The library's cross-entropy takes another way to the same gradient: rounding.
        Assert.Equal(1, ours.MeanEigenvalues[0].MeanEigenvalue / library.MeanEigenvalues[0].MeanEigenvalue, 1e-12);
        using var expected = new InfluenceFunction(library) { Tolerance = 0 }.Score(task, examples, examples);
        using var scores = new InfluenceFunction(ours) { Tolerance = 0 }.Score(own, examples, examples);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-10);
    }

    private static (InfluenceTask Task, TorchSharp.Modules.Linear Layer) Task(string kind)
    {
        random.manual_seed(80);
        var layer = nn.Linear(2, 3, dtype: float64);
        layer.eval();
        return (
            new InfluenceTask(layer)
            {
                TrainingLoss = b => kind switch
                {
                    "softmax" => Losses.CrossEntropy(layer.call(b["x"]), b["y"]),
                    "logistic" => Losses.BinaryCrossEntropy(layer.call(b["x"]), b["y"]),
                    _ => Losses.SquaredError(layer.call(b["x"]), b["y"]),
                },
            },
            layer);
    }

    private static Tensor Targets(string kind, long n) => kind == "softmax" ? randint(0, 3, [n]) : randint(0, 2, [n, 3]).to_type(ScalarType.Float64);
}
