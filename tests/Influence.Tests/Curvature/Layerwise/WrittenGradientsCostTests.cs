using Influence.Curvature;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>What a fit says beforehand that it takes.</summary>
public class WrittenGradientsCostTests
{
    /// <summary>Where a diagonal is made of gradients written out, a batch of them is counted, and a budget below is refused.</summary>
    [Fact]
    public void GradientsWrittenOutForADiagonalCount()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(8);
        var layer = nn.Linear(20, 30, dtype: float64);
        var model = new Composite(layer.call, ("layer", layer));
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).Squared().sum([1, 2]) };
        var train = Examples.FromTensors(randn([50, 4, 20], dtype: float64));
        const long Written = 50 * ((20 * 30) + 30) * 8;

        Assert.True(DiagonalFisher.Estimate(task, train, LayerwiseMethods.Empirical).PeakBytes >= Written);
        var thrown = Assert.Throws<InfluenceException>(() =>
            DiagonalFisher.Fit(task, train, LayerwiseMethods.Empirical with { MemoryBudget = Written })
        );
        Assert.Contains("BatchSize", thrown.Message, StringComparison.Ordinal);
        using var fit = DiagonalFisher.Fit(task, train with { BatchSize = 5 }, LayerwiseMethods.Empirical with { MemoryBudget = Written });
    }
}
