using Influence.Curvature;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Products with the Hessian and the Gauss-Newton matrix against differences of gradients and written-out Jacobians.</summary>
public class ProductTests
{
    public static TheoryData<string> Small => SmallModels.Names;

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void HessianOfEveryKindOfModel(string name)
    {
        if (name.StartsWith("embedding bag", StringComparison.Ordinal))
        {
            // libtorch has no second derivative of it.
            Assert.Contains("_embedding_bag_backward", Assert.Throws<InfluenceException>(() => HessianIs(Cases.Make(name))).Message);
            return;
        }

        HessianIs(Cases.Make(name));
    }

    [Theory]
    [MemberData(nameof(Small))]
    public void HessianOfSmallModels(string name) => HessianIs(SmallModels.Make(name));

    private static void HessianIs(ModelCase made)
    {
        using var scope = NewDisposeScope();
        var inputs = made.Inputs(5);
        var train = Examples.FromTensors(inputs) with { BatchSize = 2 };
        Tensor product;
        Tensor vectors;
        IReadOnlyList<ParameterPart> parts;
        using (var session = GradientSession.Open(made.Task(), train, null))
        {
            var layout = new ParameterVector(session);
            parts = layout.Parts;
            vectors = randn([2, layout.Length], dtype: float64);
            if (made.Name == "embedding with padding index")
            {
                // The loss changes with the padding row, but no gradient tells of it.
                vectors.reshape(2, 11, 4).select(1, 3).fill_(0);
            }

            product = new HessianProduct(session, layout).Over(train, vectors, default);
        }

        for (var k = 0; k < 2; k++)
        {
            // A shorter step where it would cross the kinks of a ReLU, or where fourth derivatives are large.
            var expected = CurvatureOracle.HessianTimes(
                made,
                inputs,
                parts,
                vectors[k],
                made.Name is "cnn with batch norm" or "native encoder masked" ? 1e-8 : CurvatureOracle.Step
            );

            // The differences themselves are good to 1e-8 or so of the product.
            Assert.True(
                (product[k] - expected).norm().item<double>() <= 1e-6 * (expected.norm().item<double>() + 1e-6),
                $"{made.Name} {(product[k] - expected).norm().item<double>()} of {expected.norm().item<double>()}"
            );
        }
    }

    [Theory]
    [InlineData("mlp")]
    [InlineData("conv net")]
    public void GaussNewtonOfSoftmaxIsJacobiansAroundDiagPMinusPp(string name)
    {
        using var scope = NewDisposeScope();
        var made = SmallModels.Make(name);
        var inputs = made.Inputs(6);
        using var dense = Fit(made, inputs, CurvatureMatrix.GaussNewton, batchSize: 4, out var parts);
        var expected = CurvatureOracle.GaussNewton(
            made,
            ((Composite)made.Model).call(inputs[0]),
            parts,
            z =>
            {
                var p = z.softmax(0);
                return diag(p) - outer(p, p);
            }
        );

        // Both are sums of a few hundred products in float64.
        Assert.True(SingleExampleLoop.RelativeError(dense.Matrix, expected) < 1e-12);
    }

    [Fact]
    public void GaussNewtonOfSquaredErrorIsTwiceJacobiansSquared()
    {
        using var scope = NewDisposeScope();
        var made = SmallModels.Make("regression");
        var inputs = made.Inputs(6);
        using var dense = Fit(made, inputs, CurvatureMatrix.GaussNewton, batchSize: 128, out var parts);
        var expected = CurvatureOracle.GaussNewton(made, ((Composite)made.Model).call(inputs[0]), parts, _ => 2 * eye(2, dtype: float64));
        Assert.True(SingleExampleLoop.RelativeError(dense.Matrix, expected) < 1e-12);
    }

    /// <summary>Where outputs are linear in the parameters the Gauss-Newton matrix is the Hessian, weights on the losses
    /// included.</summary>
    [Fact]
    public void GaussNewtonOfALinearModelIsTheHessian()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        var layer = nn.Linear(4, 4, dtype: float64);
        var made = new ModelCase(
            "linear",
            layer,
            t =>
            {
                var z = layer.call(t[0]);
                return (3 * Losses.CrossEntropy(z[.., ..3], t[1]))
                    + (t[0].select(1, 0).Squared() * Losses.BinaryCrossEntropy(z.select(1, 3), t[1].eq(1)));
            },
            n => [randn([n, 4], dtype: float64), randint(0, 3, [n])]
        );
        var inputs = made.Inputs(6);
        using var gaussNewton = Fit(made, inputs, CurvatureMatrix.GaussNewton, 128, out var parts);
        using var hessian = Fit(made, inputs, CurvatureMatrix.Hessian, 128, out _);
        Assert.True(SingleExampleLoop.RelativeError(gaussNewton.Matrix, hessian.Matrix) < 1e-12);
        Assert.True(SingleExampleLoop.RelativeError(hessian.Matrix, CurvatureOracle.Hessian(made, inputs, parts)) < 1e-7);
    }

    /// <summary>A masked position has no gradient, whatever its output: it adds nothing to the curvature either.</summary>
    [Fact]
    public void GaussNewtonFollowsTheLossesMask()
    {
        using var scope = NewDisposeScope();
        var made = SmallModels.Make("attention");
        var inputs = made.Inputs(4);
        using var dense = Fit(made, inputs, CurvatureMatrix.GaussNewton, 128, out _);
        Assert.True(dense.Eigenvalues[0] > -1e-12 * dense.Eigenvalues[^1]);
        inputs[1].fill_(0);
        using var none = Fit(made, inputs, CurvatureMatrix.GaussNewton, 128, out _);
        Assert.All(none.Eigenvalues, value => Assert.Equal(0, value, 1e-14));
    }

    private static DenseCurvature Fit(
        ModelCase made,
        Tensor[] inputs,
        CurvatureMatrix matrix,
        int batchSize,
        out IReadOnlyList<ParameterPart> parts
    )
    {
        var train = Examples.FromTensors(inputs) with { BatchSize = batchSize };
        using (var session = GradientSession.Open(made.Task(), train, null))
        {
            parts = new ParameterVector(session).Parts;
        }

        return DenseCurvature.Fit(made.Task(), train, new DenseCurvature.Options { Matrix = matrix });
    }
}
