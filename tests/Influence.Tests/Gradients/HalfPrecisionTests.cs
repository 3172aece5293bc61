using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Models in bfloat16 and float16: they run in half, and everything after the layers is float32.</summary>
public sealed class HalfPrecisionTests(ITestOutputHelper output) : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>
    /// Against the products of what plain autograd gives for each example on the very same half model, widened: what differs is the order
    /// of sums within a batch. A number has 8 (bfloat16) or 11 bits, and a gradient passes through some thirty operations: 30 x 2^-9 = 6e-2
    /// and 30 x 2^-12 = 7e-3 at the worst; errors that are independent add like their root.
    /// </summary>
    [Theory]
    [InlineData(ScalarType.BFloat16, 3e-2)]
    [InlineData(ScalarType.Float16, 4e-3)]
    public void ScoresAreProductsOfTheModelsOwnGradients(ScalarType type, double tolerance)
    {
        var (model, task, data, (x, y)) = Make(type);
        using var scores = new TracIn().Score(task, data, data);
        var rows = stack(
            [
                .. Enumerable
                    .Range(0, 16)
                    .Select(i =>
                    {
                        model.zero_grad();
                        Loss(model, x.narrow(0, i, 1), y.narrow(0, i, 1)).sum().backward();
                        return cat(
                            [
                                .. model
                                    .parameters()
                                    .Select(p => (
                                            p.grad is { } g
                                                ? g.is_sparse
                                                    ? g.to_dense()
                                                    : g
                                                : zeros_like(p)
                                        ).detach().reshape(-1).to_type(float64)),
                            ],
                            0
                        );
                    }),
            ],
            0
        );
        model.zero_grad();
        var error = SingleExampleLoop.RelativeError(scores.Values, rows.mm(rows.t()));
        output.WriteLine($"{type}: {error:E2}");

        Assert.Equal(ScalarType.Float32, scores.Values.dtype);
        Assert.True(error < tolerance, $"{error:E2}");
        Assert.Equal(0, task.Coverage(data).BySingleExamples);
        Assert.All(model.parameters(), p => Assert.Equal(type, p.dtype));
    }

    /// <summary>
    /// The effect on scores: beside the same weights in float32, correlations over all pairs. Measured: TracIn 0.99709 and EK-FAC 0.99934
    /// in bfloat16, 0.99998 and 0.999994 in float16. The bounds leave about three times these deviations from 1, since kernels of other
    /// processors round otherwise.
    /// </summary>
    [Theory]
    [InlineData(ScalarType.BFloat16, 0.991, 0.998)]
    [InlineData(ScalarType.Float16, 0.99994, 0.99998)]
    public void ScoresAreNearlyThoseOfFloat32(ScalarType type, double tracIn, double ekfac)
    {
        var (half, single) = (Make(type), Make(ScalarType.Float32));
        var correlations = new[] { false, true }
            .Select(curved => Correlation(Scores(half.Task, half.Data, curved), Scores(single.Task, single.Data, curved)))
            .ToArray();
        output.WriteLine($"{type}: TracIn {correlations[0]:0.000000}, EK-FAC {correlations[1]:0.000000}");
        Assert.True(correlations[0] > tracIn, $"TracIn {correlations[0]:0.000000}");
        Assert.True(correlations[1] > ekfac, $"EK-FAC {correlations[1]:0.000000}");

        static Tensor Scores(InfluenceTask task, Examples data, bool curved)
        {
            if (!curved)
            {
                return new TracIn().Score(task, data, data).Values;
            }

            using var fit = Ekfac.Fit(task, data, new Ekfac.Options { Fisher = Fisher.Empirical });
            Assert.All(
                fit.Blocks,
                block => Assert.All(block!.Tensors(), t => Assert.True(t.Value.dtype is ScalarType.Float32 or ScalarType.Float64))
            );
            return new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, data, data)
                .Values;
        }
    }

    /// <summary>Parameters that no rule covers, and layers with statistics of their own, go the same way.</summary>
    [Fact]
    public void SingleExamplesAndBatchNorm()
    {
        random.manual_seed(4);
        var (layer, norm, scale) = (
            nn.Linear(6, 8, dtype: bfloat16),
            nn.BatchNorm1d(8, dtype: bfloat16),
            nn.Parameter(ones(8, dtype: bfloat16))
        );
        var model = new Composite(
            x => (norm.call(layer.call(x.to_type(bfloat16))) * scale).tanh().to_type(float32),
            ("layer", layer),
            ("norm", norm)
        ).With("scale", scale);
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared().sum(1) };
        var data = Examples.FromTensors(("x", randn(10, 6)));
        using var scores = new TracIn().Score(task, data, data);
        using var single = new TracIn().Score(task with { SingleExamples = LayerSelection.All }, data, data);

        Assert.Equal(8, task.Coverage(data).BySingleExamples);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, single.Values.to_type(float64)) < 2e-2);
    }

    [Fact]
    public void WhatNeedsMoreDigitsSaysSo()
    {
        var (model, task, data, (x, y)) = Make(ScalarType.BFloat16);
        foreach (
            var call in new Action[]
            {
                () => ConjugateGradient.Fit(task, data).Dispose(),
                () =>
                    new InfluenceFunction(NoCurvature.Fit(task, data))
                        .ScoreLossTokens(task, data, data, b => Losses.TokenCrossEntropy(model.call(b["x"]).to_type(float32), b["y"]))
                        .Dispose(),
            }
        )
        {
            Assert.Contains("half precision", Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);
        }

        var batch = ExampleBatch.Of([0L, 1L], ("x", x[..2]), ("y", y[..2]));
        Assert.Contains(
            "a training loop is not",
            Assert.Throws<InfluenceException>(() => TrainingGradients.Open(task, batch).Dispose()).Message,
            StringComparison.Ordinal
        );
    }

    private static double Correlation(Tensor a, Tensor b)
    {
        var (x, y) = (a.to_type(float64).reshape(-1), b.to_type(float64).reshape(-1));
        (x, y) = (x - x.mean(), y - y.mean());
        return (x.dot(y) / (x.norm() * y.norm())).item<double>();
    }

    private static Tensor Loss(TinyGpt2 model, Tensor x, Tensor y) => Losses.CrossEntropy(model.call(x).to_type(float32), y);

    /// <summary>The same weights in each type, rounded once.</summary>
    private static (TinyGpt2 Model, InfluenceTask Task, Examples Data, (Tensor X, Tensor Y) Tensors) Make(ScalarType type)
    {
        random.manual_seed(3);
        var model = new TinyGpt2(tied: false);
        var text = randint(0, TinyGpt2.Vocabulary, [16, TinyGpt2.Length + 1]);
        var (x, y) = (text[.., ..TinyGpt2.Length].clone(), text[.., 1..].clone());
        using (no_grad())
        {
            foreach (var parameter in model.parameters())
            {
                parameter.copy_(parameter.to_type(bfloat16));
            }
        }

        model.to(type);
        model.eval();
        return (
            model,
            new InfluenceTask(model) { TrainingLoss = b => Loss(model, b["x"], b["y"]) },
            Examples.FromTensors(("x", x), ("y", y)) with
            {
                BatchSize = 8,
            },
            (x, y)
        );
    }
}
