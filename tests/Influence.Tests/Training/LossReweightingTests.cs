using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

public sealed class LossReweightingTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>Losses (1, 2, 3), delta = r = 1.</summary>
    [Theory]
    [InlineData(LossReweighting.Kind.LinUpper, 0.155362, 0.422319, 0.422319)]
    [InlineData(LossReweighting.Kind.Quadratic, 0.211942, 0.576117, 0.211942)]
    [InlineData(LossReweighting.Kind.Extremes, 0.422319, 0.155362, 0.422319)]
    public void TheWorkedExample(LossReweighting.Kind scheme, double first, double second, double third)
    {
        var weights = new LossReweighting { Scheme = scheme, WarmUpSteps = 0 }.Weights(tensor([1.0, 2.0, 3.0]), 0);
        Assert.Equal([first, second, third], weights.data<double>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-6); // six decimals are given
    }

    /// <summary>Against the formula by tensor operations, for other delta and r.</summary>
    [Theory]
    [InlineData(LossReweighting.Kind.LinUpper)]
    [InlineData(LossReweighting.Kind.Quadratic)]
    [InlineData(LossReweighting.Kind.Extremes)]
    public void TheFormula(LossReweighting.Kind scheme)
    {
        var losses = rand(9, dtype: ScalarType.Float64) * 5;
        var (delta, r) = (2.5, 0.7);
        var (highest, lowest) = (losses.max(), losses.min());
        var h = ((2 * delta * losses) - (delta * (highest + lowest))) / (highest - lowest);
        var f = scheme switch
        {
            LossReweighting.Kind.LinUpper => (h + delta).clamp_max(delta),
            LossReweighting.Kind.Quadratic => 1 - (h * h / (delta * delta)),
            _ => h.abs(),
        };
        var weights = new LossReweighting
        {
            Scheme = scheme,
            Delta = delta,
            Regularization = r,
            WarmUpSteps = 10,
        }.Weights(losses, 10);
        Assert.True((weights - (f / r).softmax(0)).abs().max().item<double>() < 1e-14);
        Assert.Equal(1, weights.sum().item<double>(), 1e-14);
    }

    [Fact]
    public void EqualInTheWarmUpAndWhereLossesAreEqual()
    {
        var reweighting = new LossReweighting { WarmUpSteps = 3 };
        Assert.Equal([0.25, 0.25, 0.25, 0.25], reweighting.Weights(tensor([1.0, 2, 3, 4]), 2).data<double>().ToArray());
        Assert.NotEqual(0.25, reweighting.Weights(tensor([1.0, 2, 3, 4]), 3)[0].item<double>());
        Assert.Equal([0.5, 0.5], reweighting.Weights(tensor([1.5, 1.5]), 9).data<double>().ToArray());
        Assert.Equal([1.0], reweighting.Weights(tensor([7.0]), 9).data<double>().ToArray());
    }

    /// <summary>The weights are constants: the gradient of sum w_i l_i is sum w_i grad l_i.</summary>
    [Fact]
    public void NoGradientGoesThroughTheWeights()
    {
        var x = tensor([1.0f, 2, 4], requires_grad: true);
        var losses = x * x;
        var before = LiveTensors.OnThisThread;
        var weights = new LossReweighting { WarmUpSteps = 0 }.Weights(losses, 0);
        Assert.Equal(before + 1, LiveTensors.OnThisThread);
        Assert.False(weights.requires_grad);
        Assert.Equal(ScalarType.Float32, weights.dtype);
        (weights * losses).sum().backward();
        var expected = (weights * x.detach() * 2).data<float>().ToArray();
        Assert.Equal(expected, x.grad!.data<float>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-6f);
    }

    [Fact]
    public void BadLosses()
    {
        var reweighting = new LossReweighting();
        var exception = Assert.Throws<InfluenceException>(() =>
            reweighting.Weights(tensor([1.0, double.NaN, double.PositiveInfinity]), 5, [7, 8, 9])
        );
        Assert.Equal([8, 9], exception.ExampleIds);
        Assert.Contains("of examples 8, 9", exception.Message, StringComparison.Ordinal);
        Assert.Contains(
            "positions 1 of the batch",
            Assert.Throws<InfluenceException>(() => reweighting.Weights(tensor([1.0, double.NaN]), 5)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "Reduction.None",
            Assert.Throws<InfluenceException>(() => reweighting.Weights(tensor(1.0), 5)).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => reweighting.Weights(ones(0), 5));
        Assert.Throws<InfluenceException>(() => reweighting.Weights(tensor([1L, 2L]), 5));
        Assert.Throws<InfluenceException>(() => reweighting.Weights(ones(2), 5, [1]));
        Assert.Throws<InfluenceException>(() => new LossReweighting { Delta = 0 });
        Assert.Throws<InfluenceException>(() => new LossReweighting { Regularization = double.NaN });
        Assert.Throws<InfluenceException>(() => new LossReweighting { WarmUpSteps = -1 });
    }
}
