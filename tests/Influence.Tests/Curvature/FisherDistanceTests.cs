using Influence.Curvature;
using Influence.Tests.Oracles;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>What holds between EK-FAC, K-FAC and the Fisher matrix F that they stand for.</summary>
public class FisherDistanceTests
{
    /// <summary>In any orthogonal basis the squared norm is the same: the eigenvalues sum to the mean squared gradient.</summary>
    [Theory]
    [InlineData("mlp")]
    [InlineData("convolutions")]
    [InlineData("attention")]
    public void TheEigenvaluesSumToTheMeanSquaredNorm(string name)
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make(name);
        var train = made.Inputs(10);
        using var ekfac = Ekfac.Fit(made.Task(), Examples.FromTensors(train), new() { Fisher = Fisher.Empirical });
        using var diagonal = DiagonalFisher.Fit(made.Task(), Examples.FromTensors(train), new() { Fisher = Fisher.Empirical });

        foreach (var fit in new LayerwisePreconditioner[] { ekfac, diagonal })
        {
            foreach (var (parameters, mean) in fit.MeanEigenvalues)
            {
                var names = parameters.Split(", ");
                var g = SingleExampleLoop.Gradients(made.Model, made.Loss, train, names.Contains);
                var expected = g.Squared().sum(1).mean().item<double>();

                // Float64, and sums of a few hundred squares.
                Assert.Equal(1, mean * g.shape[1] / expected, 1e-11);
            }
        }
    }

    /// <summary>
    /// EK-FAC has the eigenvalues that are closest to F in K-FAC's basis (George et al. 2018, proposition 1); with one
    /// position per example both are in the same unit. Read from the library's own fit, the matrices written out.
    /// </summary>
    [Fact]
    public void EkfacIsCloserToTheFisherThanKfac()
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make("mlp");
        var train = made.Inputs(40);
        var examples = Examples.FromTensors(train);
        using var ekfac = Ekfac.Fit(made.Task(), examples, new() { Fisher = Fisher.Empirical });
        using var kfac = Kfac.Fit(made.Task(), examples, new() { Fisher = Fisher.Empirical });
        for (var k = 0; k < 2; k++)
        {
            var names = ekfac.MeanEigenvalues[k].Parameters.Split(", ");
            var (weight, bias) = (Gradients(names[0]), Gradients(names[1]));
            var g = cat([weight.reshape(40, bias.shape[1], -1), bias.unsqueeze(2)], 2).flatten(1);
            var fisher = g.t().mm(g) / 40;

            var (far, near) = (Distance(kfac, k, fisher), Distance(ekfac, k, fisher));
            Assert.True(near < far, $"EK-FAC {near}, K-FAC {far}");

            // And neither is the Fisher itself: a bound that is met by accident would say nothing.
            Assert.True(near > 1e-3 * fisher.Squared().sum().sqrt().item<double>());
        }

        Tensor Gradients(string name) => SingleExampleLoop.Gradients(made.Model, made.Loss, train, n => n == name);
    }

    private static double Distance(LayerwisePreconditioner fit, int block, Tensor fisher)
    {
        var tensors = fit.Blocks[block]!.Tensors().ToDictionary(t => t.Name, t => t.Value);
        var values = tensors.TryGetValue("eigenvalues", out var measured)
            ? measured
            : tensors["output.values"].outer(tensors["input.values"]);
        var q = tensors["output.vectors.0"].kron(tensors["input.vectors.0"]);
        return (q.mm(diag(values.flatten())).mm(q.t()) - fisher).Squared().sum().sqrt().item<double>();
    }
}
