using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Gradients in few dimensions, with inner products kept on average.</summary>
public class ProjectedGradientsTests
{
    [Fact]
    public void WithRoomForAllTheyAreTheGradients()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var expected = c.TrainGradients();
        var state = ModelState.Of(c.Model, c.X);
        var rows = new ProjectedGradients { Dimension = 1000 }.Compute(c.Task(), c.Train with { BatchSize = 4 });
        Assert.Equal(expected.shape, rows.shape);
        Assert.True(SingleExampleLoop.RelativeError(rows.mm(rows.t()), expected.mm(expected.t())) < 1e-12);
        state.AssertUnchanged(c.Model, c.X);
    }

    /// <summary>The mean over seeds of the projected product is the product, and its spread is what the formula says at most.</summary>
    [Fact]
    public void InnerProductsAreKeptOnAverage()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 2);
        var exact = c.TrainGradients();
        var gram = exact.mm(exact.t()).data<double>().ToArray();
        const int Seeds = 300, Dimension = 16;
        double[] products = [.. Enumerable.Range(0, Seeds).Select(seed =>
        {
            using var step = NewDisposeScope();
            var rows = new ProjectedGradients { Dimension = Dimension, Seed = seed }.Compute(c.Task(), c.Train);
            Assert.Equal([2L, Dimension], rows.shape);
            return rows[0].dot(rows[1]).item<double>();
        })];
        var variance = ((gram[0] * gram[3]) + (gram[1] * gram[1])) / Dimension;

        // Four standard errors of the mean; the variance of 300 draws is within a quarter or so of its own, here the bound is from above.
        Assert.Equal(gram[1], products.Average(), 4 * Math.Sqrt(variance / Seeds));
        Assert.True(products.Average(p => (p - gram[1]) * (p - gram[1])) < 1.3 * variance);
    }

    [Fact]
    public void AParametersColumnDoesNotDependOnTheOthers()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var projection = new ProjectedGradients { Dimension = 8, Seed = 3 };
        var whole = projection.Compute(c.Task(), c.Train);
        var parts = new[] { "hidden.", "head." }.Select(layer => projection.Compute(
            new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Layers = LayerSelection.Where(n => n.StartsWith(layer, StringComparison.Ordinal)) }, c.Train)).ToArray();

        // Sums in another order, in float64.
        Assert.True(SingleExampleLoop.RelativeError(parts[0] + parts[1], whole) < 1e-12);
    }

    [Fact]
    public void NothingStaysAliveAndTheModelIsAsBefore()
    {
        using var c = new Classifier();
        var projection = new ProjectedGradients { Dimension = 8 };
        projection.Compute(c.Task(), c.Train).Dispose();
        var state = ModelState.Of(c.Model, c.X);
        var before = LiveTensors.OnThisThread;
        projection.Compute(c.Task(), c.Train).Dispose();
        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(
            () => projection.Compute(c.Task(), c.Train with { BatchSize = 2 }, new Reports(_ => source.Cancel()), source.Token));
        Assert.Equal(before, LiveTensors.OnThisThread);
        state.AssertUnchanged(c.Model, c.X);
        Assert.Throws<InfluenceException>(() => new ProjectedGradients { Dimension = 0 });
        Assert.Throws<InfluenceException>(() => new ProjectedGradients { MemoryBudget = 0 });
    }
}
