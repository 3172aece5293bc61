using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests;

/// <summary>The losses against TorchSharp's own in float64, and their gradients in float32 against the float64 truth.</summary>
public sealed class LossesTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public LossesTests() => torch.random.manual_seed(1);

    public void Dispose() => _scope.Dispose();

    [Theory]
    [InlineData(2)]
    [InlineData(10)]
    public void CrossEntropyIsTorchSharps(long classes)
    {
        var (z, y) = (randn(20, classes, dtype: float64) * 5, randint(0, classes, [20]));
        Same(z, x => F.cross_entropy(x, y, reduction: nn.Reduction.None), x => Losses.CrossEntropy(x, y));
    }

    [Fact]
    public void CrossEntropyOverPositionsIsTheSumOrTheMean()
    {
        var (z, y) = (randn(6, 4, 5, dtype: float64), randint(0, 5, [6, 4]));
        Tensor PerPosition(Tensor x) => F.cross_entropy(x.reshape(-1, 5), y.reshape(-1), reduction: nn.Reduction.None).reshape(6, 4);
        Same(z, x => PerPosition(x).sum(1), x => Losses.CrossEntropy(x, y));
        Same(z, x => PerPosition(x).mean([1]), x => Losses.CrossEntropy(x, y, meanOverPositions: true));
    }

    [Fact]
    public void CrossEntropyOverTwoPositionAxes()
    {
        var (z, y) = (randn(3, 4, 2, 5, dtype: float64), randint(0, 5, [3, 4, 2]));
        Same(
            z,
            x => F.cross_entropy(x.reshape(-1, 5), y.reshape(-1), reduction: nn.Reduction.None).reshape(3, -1).sum(1),
            x => Losses.CrossEntropy(x, y)
        );
    }

    /// <summary>Targets under the mask may be anything; an example without a position that counts has loss 0.</summary>
    [Theory]
    [InlineData(ScalarType.Bool)]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.Int64)]
    public void AMaskLeavesPositionsOut(ScalarType maskType)
    {
        var mask = tensor(new[] { true, true, false, true, false, false, false, false, false }).reshape(3, 3);
        var (z, y) = (randn(3, 3, 4, dtype: float64), randint(0, 4, [3, 3]).masked_fill(mask.logical_not(), -100));
        Tensor PerPosition(Tensor x) =>
            F.cross_entropy(x.reshape(-1, 4), y.reshape(-1), ignore_index: -100, reduction: nn.Reduction.None).reshape(3, 3);
        Same(z, x => PerPosition(x).sum(1), x => Losses.CrossEntropy(x, y, mask.to_type(maskType)));
        Same(
            z,
            x => PerPosition(x).sum(1) / tensor(new[] { 2.0, 1.0, 1.0 }),
            x => Losses.CrossEntropy(x, y, mask.to_type(maskType), meanOverPositions: true)
        );
    }

    /// <summary>
    /// A fitted example, p_y = 1 - 1e-7 to 1 - 1e-12: the gradient of the true class is p_y - 1, which the usual formula
    /// takes as a difference of two float32 near 1, wrong in the first digit. Each entry here is a product of a few float32
    /// operations of 1e-7 each, on logits that are exact in float32: 1e-5 leaves room for the exponential of 28.
    /// </summary>
    [Theory]
    [InlineData(1e-7)]
    [InlineData(1e-9)]
    [InlineData(1e-12)]
    public void TheGradientOfAFittedExampleIsExactInFloat32(double rest)
    {
        var margin = (float)-Math.Log(rest);
        var narrow = tensor(
            new[,]
            {
                { 1f + margin, 1f, 0.5f, -1f },
            }
        );
        var y = zeros([1], ScalarType.Int64);
        var truth = Gradient(narrow.to_type(float64), x => Losses.CrossEntropy(x, y));

        var ours = Gradient(narrow, x => Losses.CrossEntropy(x, y));
        var usual = Gradient(narrow, x => F.cross_entropy(x, y, reduction: nn.Reduction.None));

        Assert.Equal(ScalarType.Float32, ours.dtype);
        Assert.True(WorstEntry(ours, truth) < 1e-5, $"{WorstEntry(ours, truth):E2}");
        Assert.True(WorstEntry(usual, truth) > 0.01, $"{WorstEntry(usual, truth):E2}");

        // The truth itself: the true class's entry is minus the sum of the others.
        Assert.Equal(1, (-truth[0, 0] / truth[0, 1..].sum()).item<double>(), 12);
        Assert.Equal(1, (-truth[0, 0] / (1 / (1 + exp(margin - tensor(1 + Math.Exp(-0.5) + Math.Exp(-2.0)).log())))).item<double>(), 9);
    }

    [Fact]
    public void CrossEntropyHasNoLimitInFloat32()
    {
        var z = tensor(
            new[,]
            {
                { 200f, 0f },
                { -200f, 0f },
                { 1e4f, -1e4f },
            }
        );
        var loss = Losses.CrossEntropy(z, zeros([3], ScalarType.Int64));
        Assert.Equal([0f, 200f, 0f], loss.data<float>().ToArray());
        Assert.True(Gradient(z, x => Losses.CrossEntropy(x, zeros([3], ScalarType.Int64))).isfinite().all().item<bool>());
    }

    /// <summary>The second derivative against central differences of the first; step 1e-5, error of the order of its square.</summary>
    [Fact]
    public void CrossEntropyCanBeDifferentiatedTwice()
    {
        var (z, y, v) = (randn(5, 4, dtype: float64), randint(0, 4, [5]), randn(5, 4, dtype: float64));
        Func<Tensor, Tensor> loss = x => Losses.CrossEntropy(x, y);
        var x = z.clone().requires_grad_(true);
        var first = autograd.grad([loss(x).sum()], [x], retain_graph: true, create_graph: true)[0];
        var product = autograd.grad([(first * v).sum()], [x], allow_unused: true)[0];

        const double Step = 1e-5;
        var expected = (Gradient(z + (Step * v), loss) - Gradient(z - (Step * v), loss)) / (2 * Step);

        Assert.True(SingleExampleLoop.RelativeError(product, expected) < 1e-8);
    }

    [Fact]
    public void BinaryCrossEntropyIsTorchSharps()
    {
        var (z, y) = (randn(20, dtype: float64) * 5, rand(20, dtype: float64));
        Same(z, x => F.binary_cross_entropy_with_logits(x, y, reduction: nn.Reduction.None), x => Losses.BinaryCrossEntropy(x, y));
        var (many, labels) = (randn(5, 2, 3, dtype: float64), randint(0, 2, [5, 2, 3]));
        Same(
            many,
            x => F.binary_cross_entropy_with_logits(x, labels.to_type(float64), reduction: nn.Reduction.None).sum([1, 2]),
            x => Losses.BinaryCrossEntropy(x, labels)
        );
    }

    [Theory]
    [InlineData(1, 20f)]
    [InlineData(0, -20f)]
    [InlineData(1, 80f)]
    public void BinaryCrossEntropyOfAFittedExampleIsExactInFloat32(long label, float logit)
    {
        var (z, y) = (tensor(new[] { logit }), tensor(new[] { label }));
        var truth = Gradient(z.to_type(float64), x => Losses.BinaryCrossEntropy(x, y));
        Assert.True(WorstEntry(Gradient(z, x => Losses.BinaryCrossEntropy(x, y)), truth) < 1e-5);
        Assert.Equal(Math.Exp(-Math.Abs(logit)), Math.Abs(truth.item<double>()), 1e-8 * Math.Exp(-Math.Abs(logit)));
    }

    [Fact]
    public void SquaredErrorIsTorchSharps()
    {
        var (p, y) = (randn(6, 3, dtype: float64), randn(6, 3, dtype: float64));
        Same(p, x => F.mse_loss(x, y, nn.Reduction.None).sum(1), x => Losses.SquaredError(x, y));
        Same(p.select(1, 0), x => F.mse_loss(x, y.select(1, 0), nn.Reduction.None), x => Losses.SquaredError(x, y.select(1, 0)));
        Assert.Equal([4.0], Losses.SquaredError(tensor(new[] { 3.0 }), tensor(new[] { 1L })).data<double>().ToArray());
    }

    [Fact]
    public void ShapesThatDoNotFit()
    {
        var (z, y) = (randn(4, 3), randint(0, 3, [4]));
        Refused("[4, 3] and targets [5]", () => Losses.CrossEntropy(z, randint(0, 3, [5])));
        Refused("found", () => Losses.CrossEntropy(randn(4), y));
        Refused("to_type(ScalarType.Int64)", () => Losses.CrossEntropy(z, y.to_type(ScalarType.Int32)));
        Refused("BinaryCrossEntropy", () => Losses.CrossEntropy(randn(4, 1), y));
        Refused("mask has the shape of the targets", () => Losses.CrossEntropy(z, y, ones(4, 3)));
        Refused("same shape", () => Losses.BinaryCrossEntropy(z, randn(4)));
        Refused("between 0 and 1", () => Losses.BinaryCrossEntropy(z, z + 10));
        Refused("same shape", () => Losses.SquaredError(randn(4, 1), randn(4)));
        Refused("from 0 to 2", () => Losses.CrossEntropy(z, y + 3));
    }

    private static void Refused(string words, Func<Tensor> loss) =>
        Assert.Contains(words, Assert.Throws<InfluenceException>(loss).Message, StringComparison.Ordinal);

    /// <summary>Values and gradients in float64: both lose a few units of the 16th digit.</summary>
    private static void Same(Tensor at, Func<Tensor, Tensor> expected, Func<Tensor, Tensor> actual)
    {
        Assert.Equal([at.shape[0]], actual(at).shape);
        Assert.True(SingleExampleLoop.RelativeError(actual(at), expected(at)) < 1e-13);
        Assert.True(SingleExampleLoop.RelativeError(Gradient(at, actual), Gradient(at, expected)) < 1e-13);
    }

    private static Tensor Gradient(Tensor at, Func<Tensor, Tensor> loss)
    {
        var x = at.detach().clone().requires_grad_(true);
        return autograd.grad([loss(x).sum()], [x], allow_unused: true)[0];
    }

    private static double WorstEntry(Tensor actual, Tensor expected) =>
        ((actual.to_type(float64) - expected).abs() / expected.abs()).max().item<double>();
}
