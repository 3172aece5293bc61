using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Layers so large that what is made of a batch is made piece by piece: the pieces must not show.</summary>
public sealed class LargeLayerTests : IDisposable
{
    private const int Inputs = 600;
    private const int Outputs = 900;
    private const int Positions = 3;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TorchSharp.Modules.Linear _layer;
    private readonly Composite _model;
    private readonly Tensor _x;

    public LargeLayerTests()
    {
        random.manual_seed(12);
        _layer = nn.Linear(Inputs, Outputs, dtype: float64);
        _model = new Composite(x => _layer.call(x).tanh().mean([1]), ("layer", _layer));
        _model.eval();
        _x = randn([7, Positions, Inputs], dtype: float64);
    }

    public void Dispose()
    {
        _scope.Dispose();
        GC.KeepAlive(_layer);
    }

    /// <summary>
    /// 541,800 numbers an example, of which a piece holds one: the eigenvalues and self-influences of a batch of seven against those of
    /// batches of one, and the self-influence against its definition by written-out gradients. Float64, over a condition of 1e3.
    /// </summary>
    [Fact]
    public void PiecesDoNotShow()
    {
        Assert.True(2L * Outputs * (Inputs + 1) > KroneckerFit.NumbersAtOnce);
        var task = new InfluenceTask(_model) { TrainingLoss = b => _model.call(b["x"]).Squared().sum(1) };
        var whole = Examples.FromTensors(("x", _x)) with { BatchSize = 7 };
        using var fit = Ekfac.Fit(task, whole, LayerwiseMethods.Empirical);
        using var oneByOne = Ekfac.Fit(task, whole with { BatchSize = 1 }, LayerwiseMethods.Empirical);
        var scores = new InfluenceFunction(fit).SelfInfluence(task, whole).Values;
        var expected = new InfluenceFunction(oneByOne).SelfInfluence(task, whole with { BatchSize = 1 }).Values;
        using var pairs = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, whole, whole);

        for (var i = 0; i < scores.Count; i++)
        {
            Assert.Equal(1, scores[i] / expected[i], 1e-6);
            Assert.Equal(1, scores[i] / pairs[i, i], 1e-8);
        }
    }

    /// <summary>A row has 180,000 numbers, so that it is a piece of the check by itself; only the last two are exchanged.</summary>
    [Fact]
    public void ExchangedRowsBehindTheFirstPieceAreFound()
    {
        var wide = randn([7, 200, Inputs], dtype: float64);
        Tensor Loss(ExampleBatch b)
        {
            if (b.Count < 7)
            {
                return _model.call(b["x"]).Squared().sum(1);
            }

            var order = tensor(new long[] { 0, 1, 2, 3, 4, 6, 5 });
            return _model.call(b["x"].index_select(0, order)).index_select(0, order).Squared().sum(1);
        }

        var coverage = new InfluenceTask(_model) { TrainingLoss = Loss }.Coverage(Examples.FromTensors(("x", wide)) with { BatchSize = 7 });

        Assert.Equal(coverage.Total, coverage.BySingleExamples);
    }
}
