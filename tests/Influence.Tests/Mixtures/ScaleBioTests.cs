using Influence.Mixtures;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Mixtures;

public class ScaleBioTests
{
    private static readonly double[] s_h = [1, 2];
    private static readonly double[] s_a = [0, 3];

    /// <summary>
    /// Source losses h_i/2 (w - a_i)^2 and validation loss (w - 1)^2 / 2: with the weights held, both models reach their
    /// minimum, and alpha c_i goes to -grad L1' H^-1 grad l_i = (-1.757813, 1.171875).
    /// </summary>
    [Theory]
    [InlineData(10, -1.627, 1.157, 5e-4)]
    [InlineData(1000, -1.7564, 1.1718, 1e-4)]
    [InlineData(1e7, -1.757813, 1.171875, 2e-6)]
    public void ContrastsAreInfluence(double alpha, double first, double second, double tolerance)
    {
        // A step of one over the curvature, 1.6 and 1 + 1.6 alpha, lands on a quadratic's minimum.
        using var pair = new Pair(1 / (1 + (1.6 * alpha)), 1 / 1.6);
        var scaleBio = pair.ScaleBio(new(["a", "b"], [0.4, 0.6]), alpha, weightLearningRate: 0);
        var step = scaleBio.Step(Sources, Validation);
        for (var i = 1; i < 5; i++)
        {
            step = scaleBio.Step(Sources, Validation);
        }

        // The sheet gives so many digits; at 1e7 the contrast itself is 1e-7, a difference of numbers near 1 in float64.
        Assert.Equal(first, alpha * step.Contrasts[0], tolerance);
        Assert.Equal(second, alpha * step.Contrasts[1], tolerance);
        Assert.Equal([0.4, 0.6], step.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-15);
    }

    /// <summary>p_i falls by alpha lambda_i (c_i - sum lambda c), with c at the weights before the step.</summary>
    [Fact]
    public void OneStepOfTheWeights()
    {
        using var pair = new Pair(0.01, 0.5);
        var scaleBio = pair.ScaleBio(new(["a", "b"], [0.4, 0.6]), alpha: 10, weightLearningRate: 0.3);
        Assert.Equal([0, 0], scaleBio.Step(Sources, Validation).Contrasts);
        var (w, u) = (pair.Model.Value, pair.Proxy.Value);
        var step = scaleBio.Step(Sources, Validation);

        double[] c = [.. s_h.Select((h, i) => h / 2 * (((w - s_a[i]) * (w - s_a[i])) - ((u - s_a[i]) * (u - s_a[i]))))];
        var mean = (0.4 * c[0]) + (0.6 * c[1]);
        var (p0, p1) = (Math.Log(0.4) - (3 * 0.4 * (c[0] - mean)), Math.Log(0.6) - (3 * 0.6 * (c[1] - mean)));
        var expected = Math.Exp(p0) / (Math.Exp(p0) + Math.Exp(p1));
        Assert.NotEqual(0.4, expected, 1e-3);
        Assert.Equal(expected, step.Mixture["a"], 1e-12);
        Assert.Equal(0.5 * (w - 1) * (w - 1), step.ValidationLoss, 1e-12);
    }

    /// <summary>The validation minimum 1 lies nearer to source a's, 0, than the sources' own minimum: a gains until w = 1 suits
    /// both.</summary>
    [Fact]
    public void WeightsSettleWhereTheSourcesMinimumIsTheValidationMinimum()
    {
        using var pair = new Pair(1 / 17.0, 1 / 1.6);
        var scaleBio = pair.ScaleBio(new(["a", "b"], [0.4, 0.6]), alpha: 10, weightLearningRate: 0.2);
        for (var i = 0; i < 1500; i++)
        {
            scaleBio.Step(Sources, Validation);
        }

        // 6 lambda_b / (lambda_a + 2 lambda_b) = 1 at lambda_b = 0.2. What is left shrinks geometrically with the steps.
        Assert.Equal(0.2, scaleBio.Mixture["b"], 1e-3);
        Assert.Equal(1, pair.Model.Value, 1e-2);
    }

    /// <summary>Twelve steps, and six and six with all states taken through copies: the same numbers, but for the rounding of a
    /// logarithm.</summary>
    [Fact]
    public void AnInterruptedRunGoesOn()
    {
        using var whole = new Pair(0.05, 0.4);
        var scaleBio = whole.ScaleBio(new(["a", "b"], [0.4, 0.6]), alpha: 3, weightLearningRate: 0.2);
        using var first = new Pair(0.05, 0.4);
        var begun = first.ScaleBio(new(["a", "b"], [0.4, 0.6]), alpha: 3, weightLearningRate: 0.2);
        for (var i = 0; i < 12; i++)
        {
            scaleBio.Step(Sources, Validation);
            if (i < 6)
            {
                begun.Step(Sources, Validation);
            }
        }

        using var second = new Pair(0.05, 0.4);
        second.Model.load_state_dict(first.Model.state_dict());
        second.Proxy.load_state_dict(first.Proxy.state_dict());
        Assert.NotEqual(second.Model.Value, second.Proxy.Value, 1e-3);
        var resumed = ScaleBio.Resume(second.Model, second.ModelOptimizer, second.Proxy, second.ProxyOptimizer, begun.Mixture);
        (resumed.Alpha, resumed.WeightLearningRate) = (begun.Alpha, begun.WeightLearningRate);
        for (var i = 0; i < 6; i++)
        {
            resumed.Step(Sources, Validation);
        }

        Assert.Equal(whole.Model.Value, second.Model.Value, 1e-13);
        Assert.Equal(whole.Proxy.Value, second.Proxy.Value, 1e-13);
        Assert.Equal(scaleBio.Mixture["a"], resumed.Mixture["a"], 1e-13);
    }

    [Fact]
    public void ItKeepsNoTensors()
    {
        using var pair = new Pair(0.01, 0.01);
        var scaleBio = pair.ScaleBio(Mixture.Uniform("a", "b"), 1, 1);
        scaleBio.Step(Sources, Validation);
        var before = Tensor.TotalCount;
        for (var i = 0; i < 3; i++)
        {
            scaleBio.Step(Sources, Validation);
        }

        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void BadInputIsRefusedBeforeAnythingSteps()
    {
        using var pair = new Pair(0.01, 0.01);
        var scaleBio = pair.ScaleBio(Mixture.Uniform("a", "b"), 1, 1);
        var value = pair.Model.Value;

        Says(() => scaleBio.Step(m => [.. Sources(m).Take(1)], Validation), "each of the 2 sources", "found 1");
        Says(() => scaleBio.Step(m => [.. Sources(m).Select(l => l * double.NaN)], Validation), "\"a\" is NaN");
        Says(() => scaleBio.Step(Sources, m => Validation(m).expand(3)), "validation loss", "[3]", ".mean()");
        Says(() => scaleBio.Step(Sources, m => Validation(m).detach()), "validation loss has no gradient");
        Says(() => scaleBio.Alpha = 0, "Alpha is above 0");
        Says(
            () => new ScaleBio<Scalar>(pair.Model, pair.ModelOptimizer, pair.Model, pair.ModelOptimizer, Mixture.Uniform("a")),
            "the same object"
        );
        Says(
            () => new ScaleBio<Scalar>(pair.Model, pair.ModelOptimizer, pair.Proxy, pair.ProxyOptimizer, new(["a", "b"], [0, 1])),
            "\"a\" starts with weight 0"
        );
        using var other = new Scalar(2);
        Says(
            () => new ScaleBio<Scalar>(pair.Model, pair.ModelOptimizer, other, pair.ProxyOptimizer, Mixture.Uniform("a")),
            "w [1]",
            "w [2]"
        );
        Assert.Equal(value, pair.Model.Value);
    }

    private static IReadOnlyList<Tensor> Sources(Scalar model) => [.. s_h.Select((h, i) => h / 2 * (model.W - s_a[i]).Squared().sum())];

    private static Tensor Validation(Scalar model) => 0.5 * (model.W - 1).Squared().sum();

    private static void Says(Func<object> act, params string[] parts)
    {
        var message = Assert.Throws<InfluenceException>(act).Message;
        Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
    }

    private sealed class Scalar : nn.Module<Tensor, Tensor>
    {
        public Scalar(long size = 1)
            : base("scalar")
        {
            W = nn.Parameter(full(size, 0.3, dtype: ScalarType.Float64));
            register_parameter("w", W);
        }

        public TorchSharp.Modules.Parameter W { get; }

        public double Value => W.data<double>()[0];

        public override Tensor forward(Tensor input) => input * W;
    }

    private sealed class Pair(double modelRate, double proxyRate) : IDisposable
    {
        public Scalar Model { get; } = new();

        public Scalar Proxy { get; } = new();

        public optim.Optimizer ModelOptimizer => field ??= optim.SGD(Model.parameters(), modelRate);

        public optim.Optimizer ProxyOptimizer => field ??= optim.SGD(Proxy.parameters(), proxyRate);

        public ScaleBio<Scalar> ScaleBio(Mixture initial, double alpha, double weightLearningRate) =>
            new(Model, ModelOptimizer, Proxy, ProxyOptimizer, initial) { Alpha = alpha, WeightLearningRate = weightLearningRate };

        public void Dispose()
        {
            ModelOptimizer.Dispose();
            ProxyOptimizer.Dispose();
            Model.Dispose();
            Proxy.Dispose();
        }
    }
}
