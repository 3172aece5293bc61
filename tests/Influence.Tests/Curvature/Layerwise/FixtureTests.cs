using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>
/// Numbers worked out by hand. The loss is the sum of a coefficient times each output, so that the coefficients are the
/// output gradients.
/// </summary>
public class FixtureTests
{
    /// <summary>The expected numbers are printed to six decimals.</summary>
    private const double Printed = 5e-7;

    /// <summary>Two sequences of two positions through a 2 x 2 layer without bias.</summary>
    [Fact]
    public void TwoSequences()
    {
        using var scope = NewDisposeScope();
        var (task, train) = TwoSequenceTask();
        using var ekfac = Ekfac.Fit(task, train, new() { Fisher = Fisher.Empirical });
        var influence = new InfluenceFunction(ekfac) { Tolerance = 0 };
        using var scores = influence.Score(task, train, train);
        var self = influence.SelfInfluence(task, train);

        // The sum of the eigenvalues is the mean squared norm, 5.5; the damping a tenth of their mean.
        Assert.Equal(5.5, 4 * Assert.Single(ekfac.MeanEigenvalues).MeanEigenvalue, 1e-12);
        Assert.Contains("0.1375", scores.Metadata.Damping, StringComparison.Ordinal);
        Assert.Equal(2.163287, scores[0, 0], Printed);
        Assert.Equal(1.340001, scores[0, 1], Printed);
        Assert.Equal(1.340001, scores[1, 0], Printed);
        Assert.Equal(2.163287, self[0], Printed);
    }

    [Fact]
    public void TheSpectraOfTwoSequences()
    {
        using var scope = NewDisposeScope();
        var (task, train) = TwoSequenceTask();
        using var ekfac = Ekfac.Fit(task, train, new() { Fisher = Fisher.Empirical });
        using var kfac = Kfac.Fit(task, train, new() { Fisher = Fisher.Empirical });

        AssertClose([0.75, 1.5], Tensors(ekfac)["input.values"]);
        AssertClose([0.440983, 1.559017], Tensors(ekfac)["output.values"]);
        AssertClose([0.381966, 2.368034, 2.618034, 0.131966], Tensors(ekfac)["eigenvalues"]);

        // The eigenvalues of K-FAC are products of the traces' parts: tr(A) tr(S) / 4 = 2.25 * 2 / 4.
        Assert.Equal(2.25 * 2 / 4, Assert.Single(kfac.MeanEigenvalues).MeanEigenvalue, 1e-12);
        Assert.DoesNotContain("eigenvalues", Tensors(kfac).Keys);
    }

    /// <summary>One example of one position is its own eigenvector: P(G) = G / (|G|^2 + damping), (1,2) and (3,1) give G/51.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void OneExample(bool measured)
    {
        using var scope = NewDisposeScope();
        var (task, train) = Task(
            tensor(
                new double[,,]
                {
                    {
                        { 1, 2 },
                    },
                }
            ),
            tensor(
                new double[,,]
                {
                    {
                        { 3, 1 },
                    },
                }
            )
        );
        var options = new Ekfac.Options { Fisher = Fisher.Empirical, Damping = Damping.Absolute(1) };
        using LayerwisePreconditioner fit = measured ? Ekfac.Fit(task, train, options) : Kfac.Fit(task, train, options);
        var self = new InfluenceFunction(fit).SelfInfluence(task, train);

        Assert.Equal(50.0 / 51, self[0], 1e-12);

        // A query elsewhere: (1,0) and (1,0), <G/51, e e'> = 3/51.
        var (_, query) = Task(
            tensor(
                new double[,,]
                {
                    {
                        { 1, 0 },
                    },
                }
            ),
            tensor(
                new double[,,]
                {
                    {
                        { 1, 0 },
                    },
                }
            )
        );
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, query);
        Assert.Equal(3.0 / 51, scores[0, 0], 1e-12);
    }

    /// <summary>Zero rows of weights: what a layer starts from does not enter where the loss is linear.</summary>
    private static (InfluenceTask Task, Examples Train) Task(Tensor inputs, Tensor coefficients)
    {
        random.manual_seed(3);
        var layer = nn.Linear(2, 2, hasBias: false, dtype: float64);
        using (no_grad())
        {
            layer.weight.zero_();
        }

        layer.eval();
        return (
            new InfluenceTask(layer) { TrainingLoss = b => (layer.call(b["x"]) * b["d"]).sum(1, 2) },
            Examples.FromTensors(("x", inputs), ("d", coefficients))
        );
    }

    private static (InfluenceTask Task, Examples Train) TwoSequenceTask() =>
        Task(
            tensor(
                new double[,,]
                {
                    {
                        { 1, 0 },
                        { 1, 1 },
                    },
                    {
                        { 0, 2 },
                        { 1, -1 },
                    },
                }
            ),
            tensor(
                new double[,,]
                {
                    {
                        { 1, 0 },
                        { 0, 1 },
                    },
                    {
                        { 1, 1 },
                        { 2, 0 },
                    },
                }
            )
        );

    private static Dictionary<string, double[]> Tensors(LayerwisePreconditioner fit) =>
        fit.Blocks[0]!.Tensors().ToDictionary(t => t.Name, t => t.Value.data<double>().ToArray());

    private static void AssertClose(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, Printed));
    }
}
