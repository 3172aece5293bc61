using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Gradients that are finite in float32 and whose squares are not: every estimator names the examples, or computes the scores of
/// float64.</summary>
public class OverflowTests
{
    [Theory]
    [InlineData("K-FAC")]
    [InlineData("EK-FAC")]
    [InlineData("diagonal Fisher")]
    [InlineData("dense")]
    [InlineData("conjugate gradient")]
    [InlineData("DataInf")]
    [InlineData("TracIn")]
    [InlineData("cosine")]
    [InlineData("self-influence")]
    public void ATooLargeGradientIsNamed(string method)
    {
        using var scope = NewDisposeScope();
        Tensor? found = null;
        var thrown = Record.Exception(() => found = Scores(method, ScalarType.Float32));
        if (found is not null)
        {
            var expected = Scores(method, ScalarType.Float64);
            Assert.True(SingleExampleLoop.RelativeError(found, expected) < 1e-3); // float32
            return;
        }

        var named = Assert.IsType<InfluenceException>(thrown);
        Assert.Equal([5L], named.ExampleIds.Distinct());
        Assert.Contains("Float32", named.Message, StringComparison.Ordinal);
    }

    private static Tensor Scores(string method, ScalarType dtype)
    {
        random.manual_seed(3);
        var layer = nn.Linear(3, 2);
        var (x, y) = (randn([8, 3]), randn([8, 2]));
        x[5].mul_(1e10);
        (x, y) = (x.to_type(dtype), y.to_type(dtype));
        layer.to(dtype).eval();
        var (train, queries) = (
            Examples.FromTensors(("x", x), ("y", y)) with
            {
                BatchSize = 4,
            },
            Examples.FromTensors(("x", x[..3]), ("y", y[..3]))
        );
        var task = new InfluenceTask(layer) { TrainingLoss = b => Losses.SquaredError(layer.call(b["x"]), b["y"]) };

        using var fit = Fit();
        return fit is null
            ? new TracIn { Similarity = method == "cosine" ? TracIn.GradientSimilarity.Cosine : TracIn.GradientSimilarity.Dot }
                .Score(task, train, method == "TracIn" ? train : queries)
                .Values
            : new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, train, queries)
                .Values;

        Preconditioner? Fit()
        {
            switch (method)
            {
                case "dense":
                    return DenseCurvature.Fit(task, train);
                case "conjugate gradient":
                    return ConjugateGradient.Fit(task, train);
                case "DataInf":
                    return DataInf.Fit(task, train, new DataInf.Options { Fisher = Fisher.Empirical });
                case "self-influence":
                    new TracIn().SelfInfluence(task, train);
                    return null;
                case "TracIn" or "cosine":
                    return null;
                default:
                    return LayerwiseMethods.Fit(method, task, train);
            }
        }
    }
}
