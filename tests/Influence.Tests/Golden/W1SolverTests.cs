using Influence.Curvature;
using Influence.Gradients;
using Influence.Numerics;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Golden;

/// <summary>
/// What the solvers around EK-FAC rest on, on a model that fits its training examples by 99.7 percent: scales and symmetry.
/// </summary>
public class W1SolverTests(ITestOutputHelper output)
{
    /// <summary>
    /// The traces of the Gauss-Newton matrix and of EK-FAC, layer by layer, by four vectors of signs: the same up to the noise of the
    /// signs, which for the last layer's 1,290 weights is nearly a factor of two (measured 1.03, 0.75, 1.78). A matrix of sums, or of
    /// another mean, would be off by a hundred and more.
    /// </summary>
    [Fact]
    public void ScalesAndSymmetry()
    {
        using var scope = NewDisposeScope();
        if (GoldenFolder.Find("w1") is not { } folder)
        {
            output.WriteLine("Not checked: there is no folder shared/golden/w1 in or beside a parent folder.");
            return;
        }

        var (fc1, fc2, fc3) = (nn.Linear(784, 256), nn.Linear(256, 128), nn.Linear(128, 10));
        var model = new Composite(
            x => fc3.call(nn.functional.relu(fc2.call(nn.functional.relu(fc1.call(x))))),
            ("fc1", fc1),
            ("fc2", fc2),
            ("fc3", fc3)
        );
        model.eval();
        Checkpoint.FromFile(folder.Path("weights.safetensors"), 0.1).LoadInto(model);
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Examples.FromTensors(
            ("x", ((folder.Read("train_x").to_type(ScalarType.Float32) / 255) - 0.2860f) / 0.3530f),
            ("y", folder.Read("train_y"))
        ) with
        {
            BatchSize = 500,
        };
        using var ekfac = Ekfac.Fit(task, train, new() { LabelDraws = 4 });
        using var session = GradientSession.Open(task, train, null);
        var layout = new ParameterVector(session);
        var product = new GaussNewtonProduct(session, layout);

        var signs = SeededNumbers.Signs(3, 4, layout.Length, layout.Dtype, layout.Device);
        var multiplied = product.Over(train, signs, default);
        foreach (var ((name, mean), (start, count)) in ekfac.MeanEigenvalues.Zip(layout.BlockRanges))
        {
            var trace = Rows.Dot(signs.narrow(1, start, count), multiplied.narrow(1, start, count)).Average() / count;
            output.WriteLine(
                $"{name}: mean eigenvalue of the Gauss-Newton matrix {trace:G4}, of EK-FAC {mean:G4}, ratio {trace / mean:F3}"
            );
            Assert.InRange(trace / mean, 0.33, 3);
        }

        var (v, w) = (
            SeededNumbers.Normal(1, 1, layout.Length, layout.Dtype, layout.Device),
            SeededNumbers.Normal(2, 1, layout.Length, layout.Dtype, layout.Device)
        );
        var (hv, hw) = (product.Over(train, v, default), product.Over(train, w, default));
        var (vhw, whv, vhv) = (Rows.Dot(v, hw)[0], Rows.Dot(w, hv)[0], Rows.Dot(v, hv)[0]);
        output.WriteLine($"v'Hw {vhw:G7}, w'Hv {whv:G7}, v'Hv {vhv:G5}");
        Assert.True(Math.Abs(vhw - whv) < 1e-4 * vhv);
        Assert.True(vhv > 0);
    }
}
