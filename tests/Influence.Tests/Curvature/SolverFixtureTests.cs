using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Numbers worked out by hand.</summary>
public class SolverFixtureTests
{
    /// <summary>Least squares with the loss 1/2 (x.w - y)^2 at its optimum: scores (1, -1, 0), with damping 1/2 (0.4, -0.4, 0).</summary>
    [Fact]
    public void LeastSquares()
    {
        using var fixture = new LeastSquares();
        foreach (var (damping, expected) in new[] { (0.0, 1.0), (0.5, 0.4) })
        {
            foreach (var matrix in Enum.GetValues<CurvatureMatrix>())
            {
                using var dense = DenseCurvature.Fit(fixture.Task, fixture.Train, new DenseOptions { Matrix = matrix, Damping = Damping.Absolute(damping) });
                using var cg = ConjugateGradient.Fit(fixture.Task, fixture.Train, new() { Matrix = matrix, Damping = Damping.Absolute(damping), Tolerance = 1e-12 });
                fixture.AssertScores(dense, [expected, -expected, 0]);
                fixture.AssertScores(cg, [expected, -expected, 0]);
            }
        }
    }

    /// <summary>Two unknowns are two iterations.</summary>
    [Fact]
    public void ConjugateGradientsEndAfterAsManyStepsAsThereAreEigenvalues()
    {
        using var fixture = new LeastSquares();
        using var cg = ConjugateGradient.Fit(fixture.Task, fixture.Train, new() { Damping = Damping.Absolute(0.5), Tolerance = 1e-12 });
        using var scores = new InfluenceFunction(cg).Score(fixture.Task, fixture.Train, fixture.Queries);
        Assert.Contains("; 1 iterations", scores.Metadata.Curvature, StringComparison.Ordinal);
    }
}

/// <summary>Three examples, two parameters, at the optimum (2/3, 5/3); one query.</summary>
internal sealed class LeastSquares : IDisposable
{
    private readonly DisposeScope _scope;

    public LeastSquares()
    {
        Model = nn.Linear(2, 1, hasBias: false, dtype: float64);
        Model.eval();
        _scope = NewDisposeScope();
        using (no_grad())
        {
            Model.weight.copy_(tensor(new[] { 2 / 3.0, 5 / 3.0 }).reshape(1, 2));
        }

        Task = new InfluenceTask(Model) { TrainingLoss = b => 0.5 * Losses.SquaredError(Model.call(b["x"]).squeeze(1), b["y"]) };
        Train = Examples.FromTensors(("x", tensor(new double[] { 1, 0, 0, 1, 1, 1 }).reshape(3, 2)), ("y", tensor(new double[] { 1, 2, 2 })));
        Queries = Examples.FromTensors(("x", tensor(new double[] { 1, -1 }).reshape(1, 2)), ("y", tensor(new double[] { 0 })));
    }

    public TorchSharp.Modules.Linear Model { get; }

    public InfluenceTask Task { get; }

    public Examples Train { get; }

    public Examples Queries { get; }

    /// <summary>To rounding, or to what is asked.</summary>
    public void AssertScores(Preconditioner preconditioner, double[] expected, double tolerance = 1e-9)
    {
        using var scores = new InfluenceFunction(preconditioner).Score(Task, Train, Queries);
        var actual = scores.Values.data<double>().ToArray();
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(expected[i], actual[i], tolerance);
        }
    }

    public void Dispose()
    {
        _scope.Dispose();
        Model.Dispose();
    }
}
