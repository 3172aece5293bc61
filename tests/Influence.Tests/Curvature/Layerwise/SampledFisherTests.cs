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
        var x = tensor(
            new double[,]
            {
                { 0.5, -1.0 },
            }
        );
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
        var error = ((matrix - exact).Squared().sum() / exact.Squared().sum()).sqrt().item<double>();
        Assert.True(error < Deviation, $"relative error {error:F4}");
    }

    /// <summary>Over several inputs: the diagonal of E[(diag(p) - pp') (x) aa'].</summary>
    [Fact]
    public void TheDiagonalConvergesOverSeveralInputs()
    {
        using var scope = NewDisposeScope();
        var (task, layer) = Task("softmax");
        var x = tensor(
            new double[,]
            {
                { 0.5, -1.0 },
                { 2, 0.3 },
                { -1, -1 },
                { 0.1, 1.4 },
            }
        );
        var examples = Examples.FromTensors(("x", x.repeat(Repeats / 4, 1)), ("y", Targets("softmax", Repeats))) with
        {
            BatchSize = 10_000,
        };
        using var fit = DiagonalFisher.Fit(task, examples);

        var p = layer.call(x).detach().softmax(1);
        var (expectedWeight, expectedBias) = ((p * (1 - p)).t().mm(x.Squared()) / 4, (p * (1 - p)).mean([0]));
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
            using var fit = LayerwiseMethods.Fit(method, made.Task(), fitted, new Ekfac.Options { Seed = seed });
            Assert.Equal(seed, fit.Info.Seed);
            return new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(made.Task(), examples, examples)
                .Values;
        }
    }

    /// <summary>Of squared gradients the mean over draws is the mean of fits with one draw each; sums in another order.</summary>
    [Fact]
    public void SeveralDrawsAreTheMeanOfFitsWithOne()
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make("attention");
        var examples = Examples.FromTensors(made.Inputs(11)) with { BatchSize = 4 };
        var seeds = Enumerable.Range(0, 3).Select(pass => LayerwiseFit.SeedOf(5, pass));
        var mean = seeds.Select(seed => Diagonal(seed, draws: 1)).Aggregate((a, b) => a + b) / 3;
        Assert.True(SingleExampleLoop.RelativeError(Diagonal(5, draws: 3), mean) < 1e-10);

        Tensor Diagonal(long seed, int draws)
        {
            using var fit = DiagonalFisher.Fit(made.Task(), examples, new() { Seed = seed, LabelDraws = draws });
            Assert.Equal(draws > 1, fit.Info.Matrix.Contains($"{draws} labels an example", StringComparison.Ordinal));
            return cat([
                .. fit.Blocks.OfType<BlockCurvature>().SelectMany(b => b.Tensors()).Select(t => t.Value.to_type(float64).flatten()),
            ]);
        }
    }

    /// <summary>Fits that differ in their seeds alone say how far labels move scores, which holds only while they share no draw.</summary>
    [Fact]
    public void NeighbouringSeedsShareNoDraw()
    {
        var seeds = Enumerable.Range(0, 64).SelectMany(seed => Enumerable.Range(0, 64).Select(pass => LayerwiseFit.SeedOf(seed, pass)));
        Assert.Equal(64 * 64, seeds.Distinct().Count());
        Assert.Equal(7, LayerwiseFit.SeedOf(7, 0));
    }

    /// <summary>An almost fitted softmax: the other label is drawn once in fifty, so that one draw each says little about which way it
    /// curves.</summary>
    [Fact]
    public void MoreDrawsComeNearerToTheExactFisher()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(82);
        var model = nn.Linear(4, 3, dtype: float64);
        var x = randn([60, 4], dtype: float64) * 4;
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var examples = Examples.FromTensors(("x", x), ("y", model.call(x).argmax(1)));
        var p = model.call(x).detach().softmax(1); // [60, 3]
        var exact = (p * (1 - p)).t().mm(x.Squared()).flatten() / 60;

        // Sixteen draws are off by a quarter of what one is; half leaves room for luck.
        Assert.True(Error(16) < 0.5 * Error(1), $"{Error(16):F4} {Error(1):F4}");

        double Error(int draws) =>
            Enumerable
                .Range(0, 5)
                .Average(seed =>
                {
                    using var fit = DiagonalFisher.Fit(task, examples, new() { Seed = 100 * seed, LabelDraws = draws });
                    return SingleExampleLoop.RelativeError(fit.Blocks[0]!.Tensors().First().Value, exact);
                });
    }

    [Fact]
    public void DrawsAreForSampledLabels()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var thrown = Assert.Throws<InfluenceException>(() =>
            Kfac.Fit(c.Task(), c.Train, new() { Fisher = Fisher.Empirical, LabelDraws = 4 })
        );
        Assert.Contains("LabelDraws = 4 is for Fisher.Sampled", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new Ekfac.Options { LabelDraws = 0 });
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
            TrainingLoss = b =>
                kind switch
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
                TrainingLoss = b =>
                    kind switch
                    {
                        "softmax" => Losses.CrossEntropy(layer.call(b["x"]), b["y"]),
                        "logistic" => Losses.BinaryCrossEntropy(layer.call(b["x"]), b["y"]),
                        _ => Losses.SquaredError(layer.call(b["x"]), b["y"]),
                    },
            },
            layer
        );
    }

    private static Tensor Targets(string kind, long n) =>
        kind == "softmax" ? randint(0, 3, [n]) : randint(0, 2, [n, 3]).to_type(ScalarType.Float64);
}
