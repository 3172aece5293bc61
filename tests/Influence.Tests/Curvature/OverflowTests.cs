using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Recipes;
using Influence.Scorers;
using Influence.Stores;
using Influence.Tests.Oracles;
using Influence.Training;
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
    [InlineData("LiSSA")]
    [InlineData("Arnoldi")]
    [InlineData("Nystrom")]
    [InlineData("GraNd")]
    [InlineData("group sums")]
    [InlineData("self-influence by K-FAC")]
    [InlineData("self-influence by EK-FAC")]
    [InlineData("leverage")]
    [InlineData("spectra")]
    [InlineData("DONOD")]
    [InlineData("projected rows")]
    [InlineData("stored gradients")]
    [InlineData("in-run values")]
    [InlineData("gradient norms")]
    [InlineData("summed queries")]
    public void ATooLargeGradientIsNamed(string method)
    {
        using var scope = NewDisposeScope();
        Tensor? found = null;
        var thrown = Record.Exception(() => found = Scores(method, ScalarType.Float32));
        if (found is not null)
        {
            var expected = Scores(method, ScalarType.Float64);
            // float32
            Assert.True(
                SingleExampleLoop.RelativeError(found, expected) < 1e-3,
                $"{string.Join(", ", found.to_type(ScalarType.Float64).reshape(-1).data<double>().ToArray())} "
                    + $"for {string.Join(", ", expected.to_type(ScalarType.Float64).reshape(-1).data<double>().ToArray())}"
            );
            return;
        }

        var named = Assert.IsType<InfluenceException>(thrown);
        Assert.Equal([5L], named.ExampleIds.Distinct());
        if (method is not ("DONOD" or "stored gradients"))
        {
            Assert.Contains("Float32", named.Message, StringComparison.Ordinal);
        }
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

        if (Other() is { } other)
        {
            return other;
        }

        using var fit = Fit();
        return fit is null
                ? new TracIn { Similarity = method == "cosine" ? TracIn.GradientSimilarity.Cosine : TracIn.GradientSimilarity.Dot }
                    .Score(task, train, method == "TracIn" ? train : queries)
                    .Values
            : method == "summed queries"
                ? new InfluenceFunction(fit) { Tolerance = 0, Aggregation = InfluenceFunction.QueryAggregation.Mean }
                    .Score(task, train, queries)
                    .Values
            : new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, train, queries)
                .Values;

        Tensor? Other()
        {
            switch (method)
            {
                case "GraNd":
                    return tensor(new GraNd().Score(task, train).Values.ToArray());
                case "group sums":
                    var groups = ExampleGroups.Of(train.Ids, id => id < 4 ? "a" : "b");
                    var sums = new GroupInfluence(new TracIn()).Score(
                        task,
                        train,
                        groups,
                        queries,
                        ExampleGroups.Of(queries.Ids, _ => "all")
                    );
                    return tensor(new[] { sums.Sum(0, 0), sums.Sum(0, 1) });
                case "self-influence by K-FAC" or "self-influence by EK-FAC" or "leverage":
                    using (
                        var own = LayerwiseMethods.Fit(
                            method.EndsWith("EK-FAC", StringComparison.Ordinal) ? "EK-FAC" : "K-FAC",
                            task,
                            train
                        )
                    )
                    {
                        return tensor(
                            (
                                method == "leverage"
                                    ? new InfluenceFunction(own).Leverage(task, train)
                                    : new InfluenceFunction(own).SelfInfluence(task, train)
                            ).Values.ToArray()
                        );
                    }

                case "spectra":
                    return tensor(new GradientSpectra().Score(task, train).NuclearNorms.SelectMany(row => row).ToArray());
                case "DONOD":
                    var donod = new Donod { LearningRate = 1e-3, Layers = LayerSelection.All }.Score(task, train);
                    return tensor(donod.Don.Values.Concat(donod.Nod.Values).ToArray());
                case "projected rows":
                    return new ProjectedGradients { Dimension = 8 }.Compute(task, train);
                case "stored gradients":
                    using (var folder = new TempFolder())
                    {
                        return new StoredGradients(
                            GradientStore.Write(task, train, new GradientProjection { Dimension = 2, Dtype = dtype }, folder.Path("s"))
                        )
                            .Score(task, queries)
                            .Values;
                    }

                case "in-run values"
                or "gradient norms":
                    var all = ExampleBatch.Of(train.Ids, ("x", x), ("y", y));
                    using (var loop = TrainingGradients.Open(task, all, all))
                    using (var step = loop.Step(all, all))
                    {
                        step.Accumulate();
                        if (method == "gradient norms")
                        {
                            return step.GradientNorms().clone();
                        }

                        var values = new InRunValues();
                        values.Add(step, 1e-3);
                        return tensor(values.Scores().Values.ToArray());
                    }

                default:
                    return null;
            }
        }

        Preconditioner? Fit()
        {
            switch (method)
            {
                case "dense":
                    return DenseCurvature.Fit(task, train);
                case "conjugate gradient":
                    return ConjugateGradient.Fit(task, train);
                case "LiSSA":
                    return Lissa.Fit(task, train);
                case "Arnoldi":
                    return Arnoldi.Fit(task, train);
                case "Nystrom":
                    return Nystrom.Fit(task, train);
                case "summed queries":
                    return LayerwiseMethods.Fit("EK-FAC", task, train);
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
