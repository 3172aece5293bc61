using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Golden;

/// <summary>
/// Softmax regression on handwritten digits at its optimum, with weight decay 0.01 in the objective: exact influence by the full
/// Hessian, and the change of the query's loss after leaving each example out and solving again.
/// </summary>
public class W0Tests(ITestOutputHelper output)
{
    private const double WeightDecay = 0.01;

    /// <summary>The Hessian and its inverse are float64 sums over 1,437 examples, and the eigendecomposition adds 1e-13.</summary>
    [Theory]
    [InlineData(CurvatureMatrix.Hessian)]
    [InlineData(CurvatureMatrix.GaussNewton)]
    public void ExactInfluence(CurvatureMatrix matrix) =>
        WithData(w0 =>
        {
            // The examples' own losses leave the weight decay out: it is a damping. A linear model's Gauss-Newton matrix is its Hessian.
            using var dense = DenseCurvature.Fit(
                w0.Task,
                w0.Train,
                new DenseCurvature.Options { Matrix = matrix, Damping = Damping.Absolute(WeightDecay) }
            );
            using var scores = new InfluenceFunction(dense).Score(w0.Task, w0.Train, w0.Queries);
            var error = SingleExampleLoop.RelativeError(scores.Values, w0.Folder.Read("influence_exact"));
            var pearson = Pearson(scores.Values * scores.Metadata.LeaveOneOutFactor!.Value, w0.Folder.Read("loo_delta"));
            output.WriteLine($"influence {error:E1}, leave-one-out {pearson:F5}");
            Assert.True(error < 1e-9);
            Assert.True(pearson > 0.999);
        });

    /// <summary>The term in the loss delegate gives the same Hessian, though not the same gradients.</summary>
    [Fact]
    public void WeightDecayInTheLossIsPartOfTheHessian() =>
        WithData(w0 =>
        {
            using var dense = DenseCurvature.Fit(w0.DecayedTask, w0.Train, new DenseCurvature.Options { Matrix = CurvatureMatrix.Hessian });
            Assert.True(SingleExampleLoop.RelativeError(dense.Matrix.trace(), w0.Folder.Read("hessian").trace()) < 1e-12);
            Assert.True(
                SingleExampleLoop.RelativeError(tensor(dense.Eigenvalues.ToArray()), linalg.eigvalsh(w0.Folder.Read("hessian"))) < 1e-12
            );
            var refused = Assert.Throws<InfluenceException>(() => DenseCurvature.Fit(w0.DecayedTask, w0.Train));
            Assert.Contains("weight-decay", refused.Message, StringComparison.Ordinal);
        });

    [Fact]
    public void ConjugateGradients() =>
        WithData(w0 =>
        {
            using var cg = ConjugateGradient.Fit(w0.Task, w0.Train, new() { Damping = Damping.Absolute(WeightDecay), Tolerance = 1e-10 });
            using var scores = new InfluenceFunction(cg).Score(w0.Task, w0.Train, w0.Take(3));
            var error = SingleExampleLoop.RelativeError(scores.Values, w0.Folder.Read("influence_exact").narrow(0, 0, 3));
            output.WriteLine($"{error:E1}; {scores.Metadata.Curvature}");

            // The residual times the square root of the condition number, which is some hundreds.
            Assert.True(error < 1e-8);
        });

    /// <summary>Mini-batches of 256 over EK-FAC: two hundred steps bring the scores much nearer to the exact ones.</summary>
    [Fact]
    public void AstraRefinesEkfac() =>
        WithData(w0 =>
        {
            var damping = Damping.Absolute(WeightDecay);
            using var ekfac = Ekfac.Fit(w0.Task, w0.Train, new() { Damping = damping });
            using var astra = Astra.Fit(w0.Task, w0.Train, ekfac, new() { Damping = damping });
            var expected = w0.Folder.Read("influence_exact").narrow(0, 0, 3);
            using var before = new InfluenceFunction(ekfac) { Tolerance = 0 }.Score(w0.Task, w0.Train, w0.Take(3));
            using var after = new InfluenceFunction(astra).Score(w0.Task, w0.Train, w0.Take(3));
            var errors = (
                SingleExampleLoop.RelativeError(before.Values, expected),
                SingleExampleLoop.RelativeError(after.Values, expected)
            );
            output.WriteLine($"{errors.Item1:E1} to {errors.Item2:E1}; {after.Metadata.Curvature}");
            Assert.True(errors.Item2 < errors.Item1 / 3);
        });

    private static double Pearson(Tensor a, Tensor b)
    {
        var (x, y) = (a - a.mean(), b - b.mean());
        return ((x * y).sum() / (x.norm() * y.norm())).item<double>();
    }

    private void WithData(Action<Data> test)
    {
        if (GoldenFolder.Find("w0") is not { } folder)
        {
            output.WriteLine("Not run: there is no folder shared/golden/w0 in or beside a parent folder.");
            return;
        }

        using var scope = NewDisposeScope();
        test(new Data(folder));
    }

    private sealed class Data
    {
        private readonly Tensor _x;
        private readonly Tensor _y;

        public Data(GoldenFolder folder)
        {
            Folder = folder;
            var layer = nn.Linear(64, 10, dtype: float64);
            layer.eval();
            using (no_grad())
            {
                var theta = folder.Read("theta"); // [10, 65]
                layer.weight.copy_(theta[.., ..64]);
                layer.bias!.copy_(theta[.., 64]);
            }

            Task = new InfluenceTask(layer) { TrainingLoss = b => Losses.CrossEntropy(layer.call(b["x"]), b["y"]) };
            DecayedTask = new InfluenceTask(layer)
            {
                TrainingLoss = b =>
                    Losses.CrossEntropy(layer.call(b["x"]), b["y"])
                    + (WeightDecay / 2 * (layer.weight.Squared().sum() + layer.bias!.Squared().sum())),
            };
            Train = Examples.FromTensors(("x", folder.Read("train_x")), ("y", folder.Read("train_y"))) with { BatchSize = 2000 };
            (_x, _y) = (folder.Read("query_x"), folder.Read("query_y"));
            Queries = Take((int)_x.shape[0]);
        }

        public GoldenFolder Folder { get; }

        public InfluenceTask Task { get; }

        public InfluenceTask DecayedTask { get; }

        public Examples Train { get; }

        public Examples Queries { get; }

        public Examples Take(int count) => Examples.FromTensors(("x", _x.narrow(0, 0, count)), ("y", _y.narrow(0, 0, count)));
    }
}
