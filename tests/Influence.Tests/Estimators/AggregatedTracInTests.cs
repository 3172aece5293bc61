using Influence.Estimators;
using Influence.Groups;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>TracIn with queries taken as one, against plain autograd of each example.</summary>
public sealed class AggregatedTracInTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly nn.Module<Tensor, Tensor> _model;
    private readonly Tensor _x;
    private readonly Tensor _y;

    public AggregatedTracInTests()
    {
        random.manual_seed(8);
        _model = nn.Sequential(nn.Linear(4, 6, dtype: float64), nn.Tanh(), nn.Linear(6, 3, dtype: float64));
        (_x, _y) = (randn([12, 4], float64), randint(0, 3, [12]));
    }

    public void Dispose() => _scope.Dispose();

    /// <summary>The bound is rounding in float64.</summary>
    [Theory]
    [InlineData(InfluenceFunction.QueryAggregation.Sum)]
    [InlineData(InfluenceFunction.QueryAggregation.Mean)]
    public void DotProductsAreWithTheSummedGradient(InfluenceFunction.QueryAggregation aggregation)
    {
        var gradients = Gradients();
        var total = gradients.narrow(0, 0, 5).sum(0L) / (aggregation == InfluenceFunction.QueryAggregation.Mean ? 5 : 1);
        using var scores = new TracIn { Aggregation = aggregation }.Score(Task(), Part(5, 7), Part(0, 5));
        Assert.Equal([-1L], scores.QueryIds);
        AssertClose(gradients.narrow(0, 5, 7).mv(total), scores.Values[0]);
    }

    /// <summary>The curriculum's score: each example's cosine with the mean gradient of all.</summary>
    [Fact]
    public void CosinesAreWithTheMeanGradient()
    {
        var gradients = Gradients();
        var mean = gradients.mean([0L]);
        var expected = gradients.mv(mean) / (gradients.norm(1) * mean.norm());
        var tracIn = new TracIn { Similarity = TracIn.GradientSimilarity.Cosine, Aggregation = InfluenceFunction.QueryAggregation.Mean };
        using var scores = tracIn.Score(Task(), Part(0, 12), Part(0, 12));
        AssertClose(expected, scores.Values[0]);
        using var sums = (tracIn with { Aggregation = InfluenceFunction.QueryAggregation.Sum }).Score(Task(), Part(0, 12), Part(0, 12));
        AssertClose(expected, sums.Values[0]);
    }

    [Fact]
    public void GroupsTakeTheMeanThemselves()
    {
        var tracIn = new TracIn { Aggregation = InfluenceFunction.QueryAggregation.Mean };
        var train = Part(5, 7);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(tracIn).Score(Task(), train, ExampleGroups.Of(train.Ids, _ => "all"), Part(0, 5))
        );
        Assert.Contains("Aggregation", thrown.Message, StringComparison.Ordinal);
    }

    private InfluenceTask Task() => new(_model) { TrainingLoss = b => Losses.CrossEntropy(_model.call(b["x"]), b["y"]) };

    private Examples Part(int first, int count) =>
        Examples.FromTensors(("x", _x.narrow(0, first, count)), ("y", _y.narrow(0, first, count))) with
        {
            Ids = [.. Enumerable.Range(first, count).Select(i => (long)i)],
            BatchSize = 3,
        };

    /// <summary>One row for each example.</summary>
    private Tensor Gradients()
    {
        var rows = new List<Tensor>();
        for (var i = 0; i < 12; i++)
        {
            _model.zero_grad();
            Losses.CrossEntropy(_model.call(_x[i].unsqueeze(0)), _y[i].unsqueeze(0)).sum().backward();
            rows.Add(cat([.. _model.parameters().Select(p => p.grad!.reshape(-1).clone())], 0));
        }

        return stack([.. rows], 0);
    }

    private static void AssertClose(Tensor expected, Tensor actual) =>
        Assert.True(allclose(expected, actual.to_type(ScalarType.Float64), rtol: 1e-12, atol: 1e-13));
}
