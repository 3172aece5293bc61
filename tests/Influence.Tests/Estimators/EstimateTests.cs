using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>What calls are said to take. That seconds are right is shown by the benchmarks (part <c>estimates</c>): on a machine that
/// others
/// use no test can hold them.</summary>
public sealed class EstimateTests : IDisposable
{
    private const int Count = 4_000;
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly TorchSharp.Modules.Linear _layer;
    private readonly Examples _train;
    private readonly Examples _queries;
    private int _seen;

    public EstimateTests()
    {
        random.manual_seed(61);
        _layer = nn.Linear(300, 200);
        _layer.eval();
        _train = Examples.FromTensors(randn([Count, 30, 300]), randn([Count, 30, 200])) with { BatchSize = 20 };
        _queries = Examples.FromTensors(randn([5, 30, 300]), randn([5, 30, 200]));
    }

    public void Dispose()
    {
        _layer.Dispose();
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>A quarter of a second's work is measured, twice, and each of some batches: of 4,000 examples, which take many seconds, a
    /// part passes the model.</summary>
    [Theory]
    [InlineData("fit")]
    [InlineData("diagonal")]
    [InlineData("scores")]
    [InlineData("mean")]
    [InlineData("self-influence")]
    [InlineData("TracIn")]
    [InlineData("TracIn's self-influence")]
    [InlineData("store")]
    public void ASampleIsMeasured(string what)
    {
        var task = Task();
        var before = _layer.weight.detach().clone();
        using var fit = Ekfac.Fit(task, _train.Range(0, 40), new() { Fisher = Fisher.Empirical });
        _seen = 0;
        var (time, processor) = what switch
        {
            "fit" => Of(Ekfac.Estimate(task, _train)),
            "diagonal" => Of(DiagonalFisher.Estimate(task, _train)),
            "scores" => Of(new InfluenceFunction(fit).Estimate(task, _train, _queries)),
            "mean" => Of(
                new InfluenceFunction(fit) { Aggregation = InfluenceFunction.QueryAggregation.Mean }.Estimate(task, _train, _queries)
            ),
            "self-influence" => Of(new InfluenceFunction(fit).EstimateSelfInfluence(task, _train)),
            "TracIn" => Of(new TracIn { Checkpoints = Saved() }.Estimate(task, _train, _queries)),
            "TracIn's self-influence" => Of(new TracIn { Checkpoints = Saved() }.EstimateSelfInfluence(task, _train)),
            _ => Of(GradientStore.Estimate(task, _train, new GradientProjection { Dimension = 8 })),
        };
        Assert.True(time > TimeSpan.Zero);
        Assert.True(processor > TimeSpan.Zero);
        Assert.InRange(_seen, 1, 3 * Count);
        Assert.True(before.eq(_layer.weight).all().item<bool>(), "The weights are as they were.");
        Assert.All(_layer.parameters(), p => Assert.True(p.requires_grad));
    }

    /// <summary>Scores take four bytes each, and units are those of the work.</summary>
    [Fact]
    public void RoomAndUnits()
    {
        var train = _train.Range(0, 60);
        var tracIn = new TracIn
        {
            Checkpoints = Saved(),
            Work = new Work(_folder.Path("work")) { ExamplesPerUnit = 20 },
        };
        var cost = tracIn.Estimate(Task(), train, _queries);
        Assert.Equal(3, cost.Units);
        Assert.Equal(tracIn.MemoryBudget + (5 * 60 * 4), cost.MemoryBytes);
        Assert.True(cost.DiskBytes >= 5 * 60 * 4);
        Assert.Equal(tracIn.MemoryBudget + (60 * 4), tracIn.EstimateSelfInfluence(Task(), train).MemoryBytes);
        Assert.Contains("of the processor", cost.ToString(), StringComparison.Ordinal);
    }

    /// <summary>A wide layer's decompositions are told apart, and a diagonal has none. That smaller blocks take less is seen at 900 against
    /// 15: by the count the one is 900^3, the others 60 times 15^3, a factor of 3,600, far more than load does to a clock.</summary>
    [Fact]
    public void DecompositionsAreToldApart()
    {
        using var wide = nn.Linear(900, 4);
        wide.eval();
        var task = new InfluenceTask(wide) { TrainingLoss = b => wide.call(b[0]).Squared().sum(1) };
        var train = Examples.FromTensors(randn([40, 900]));
        var options = new Ekfac.Options { Fisher = Fisher.Empirical };
        var whole = Ekfac.Estimate(task, train, options);
        var blocks = Ekfac.Estimate(task, train, options with { MaximumFactorSize = 15 });
        Assert.True(whole.Decompositions > blocks.Decompositions, $"{whole.Decompositions} {blocks.Decompositions}");
        Assert.True(whole.Time >= whole.Decompositions && blocks.Decompositions > TimeSpan.Zero);
        Assert.Equal(TimeSpan.Zero, DiagonalFisher.Estimate(task, train, new() { Fisher = Fisher.Empirical }).Decompositions);
        Assert.Contains("of it eigendecompositions", whole.ToString(), StringComparison.Ordinal);
    }

    /// <summary>What a budget refuses is not begun for its time.</summary>
    [Fact]
    public void ABudgetThatIsTooSmall()
    {
        var options = new Ekfac.Options { MemoryBudget = 1000 };
        var cost = Ekfac.Estimate(Task(), _train.Range(0, 40), options);
        Assert.True(cost.PeakBytes > 1000);
        Assert.True(cost.Time > TimeSpan.Zero);
        Assert.Throws<InfluenceException>(() => Ekfac.Fit(Task(), _train.Range(0, 40), options));
    }

    private InfluenceTask Task() =>
        new(_layer)
        {
            TrainingLoss = b =>
            {
                _seen += b.Count;
                return Losses.SquaredError(_layer.call(b[0]), b[1]);
            },
        };

    private List<Checkpoint> Saved() =>
        [
            .. new[] { "a", "b" }.Select(name =>
            {
                var path = _folder.Path($"{name}.safetensors");
                Checkpoint.Save(path, _layer, learningRate: 0.1);
                return Checkpoint.FromFile(path);
            }),
        ];

    private static (TimeSpan Time, TimeSpan Processor) Of(CurvatureCost cost) => (cost.Time, cost.Processor!.Value);

    private static (TimeSpan Time, TimeSpan Processor) Of(Work.Cost cost) => (cost.Time, cost.Processor!.Value);
}
