using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
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
                using var dense = DenseCurvature.Fit(
                    fixture.Task,
                    fixture.Train,
                    new DenseCurvature.Options { Matrix = matrix, Damping = Damping.Absolute(damping) }
                );
                using var cg = ConjugateGradient.Fit(
                    fixture.Task,
                    fixture.Train,
                    new()
                    {
                        Matrix = matrix,
                        Damping = Damping.Absolute(damping),
                        Tolerance = 1e-12,
                    }
                );
                fixture.AssertScores(dense, [expected, -expected, 0]);
                fixture.AssertScores(cg, [expected, -expected, 0]);
            }
        }
    }

    /// <summary>
    /// The empirical Fisher of the same with damping 0.1 of its mean eigenvalue, 0.0074074: exactly (7.5, -7.5, 0), and by DataInf's mean
    /// of inverses (30.9375, -30.9375, 0).
    /// </summary>
    [Fact]
    public void DataInfKeepsTheOrderAndNotTheScale()
    {
        using var fixture = new LeastSquares();
        using var dataInf = DataInf.Fit(fixture.Task, fixture.Train);
        fixture.AssertScores(dataInf, [30.9375, -30.9375, 0]);
    }

    [Fact]
    public void LowRankAndStochasticSolvers()
    {
        using var fixture = new LeastSquares();
        var damping = Damping.Absolute(0.5);
        using var arnoldi = Arnoldi.Fit(fixture.Task, fixture.Train, new() { Damping = damping });
        fixture.AssertScores(arnoldi, [0.4, -0.4, 0]);
        using var nystrom = Nystrom.Fit(fixture.Task, fixture.Train, new() { Damping = damping });
        fixture.AssertScores(nystrom, [0.4, -0.4, 0]);
        using var lissa = Lissa.Fit(fixture.Task, fixture.Train, new() { Damping = damping, Tolerance = 1e-11 });
        fixture.AssertScores(lissa, [0.4, -0.4, 0]);
        using var identity = NoCurvature.Fit(fixture.Task, fixture.Train);
        foreach (var iteration in Enum.GetValues<Astra.Kind>())
        {
            using var astra = Astra.Fit(
                fixture.Task,
                fixture.Train,
                identity,
                new()
                {
                    Damping = damping,
                    Iteration = iteration,
                    Iterations = 1000,
                    HalveEvery = 1000,
                    Tolerance = 1e-11,
                }
            );
            fixture.AssertScores(astra, [0.4, -0.4, 0]);
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

/// <summary>Solvers on one or two numbers.</summary>
public class OneAndTwoNumbersTests
{
    /// <summary>(1 - (1 - h / scale)^(J + 1)) / h for h = 2, scale = 10, J = 3 is 0.2952; in the limit 1 / (2 + damping).</summary>
    [Theory]
    [InlineData(3, 0, 0.2952)]
    [InlineData(2000, 0, 0.5)]
    [InlineData(2000, 0.01, 0.497512437810945)]
    public void LissaOfOneNumber(int depth, double damping, double expected)
    {
        // 0.2952 is exact; the others stop at a residual of 1e-12.
        using var one = new Scalar(1);
        using var lissa = Lissa.Fit(
            one.Task,
            one.Train,
            new()
            {
                Depth = depth,
                Scale = 10,
                Damping = Damping.Absolute(damping),
                Tolerance = 1e-12,
            }
        );
        Assert.Equal(expected, one.Solve(lissa), 1e-11);
    }

    /// <summary>Mini-batches of one: the examples' curvatures 2 and 6 alternate, and many runs average to (4 + 1)^-1.</summary>
    [Fact]
    public void LissaAveragesMiniBatches()
    {
        using var two = new Scalar(1, 3);
        using var lissa = Lissa.Fit(
            two.Task,
            two.Train,
            new()
            {
                BatchSize = 1,
                Scale = 100,
                Depth = 150,
                Repeats = 4,
                Damping = Damping.Absolute(1),
            }
        );

        // One batch moves the iterate by 2 / 100 of itself: the noise of a run is about a percent.
        Assert.Equal(0.2, two.Solve(lissa), 0.004);
    }

    /// <summary>Where the scale is below half of the eigenvalue, the iterates grow without end.</summary>
    [Fact]
    public void LissaFindsThatItDiverges()
    {
        using var one = new Scalar(1);
        using var lissa = Lissa.Fit(one.Task, one.Train, new() { Scale = 0.9, Damping = Damping.Absolute(0) });
        var thrown = Assert.Throws<InfluenceException>(() => one.Solve(lissa));
        Assert.Contains("LiSSA diverges", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>diag(1, 3) with g = g' = (1, 1): 1 + 1/3. With the larger eigenvalue alone: 1/3; with damping 1: 1/2 + 1/4.</summary>
    [Theory]
    [InlineData(2, 0, 1.3333333333333333)]
    [InlineData(1, 0, 0.3333333333333333)]
    [InlineData(2, 1, 0.75)]
    public void ArnoldiOfTwoNumbers(int topK, double damping, double expected)
    {
        using var scope = NewDisposeScope();
        using var diagonal = new Diagonal(1, 3);
        using var arnoldi = Arnoldi.Fit(diagonal.Task, diagonal.Train, new() { TopK = topK, Damping = Damping.Absolute(damping) });
        Assert.Equal(expected, diagonal.Product(arnoldi), 1e-10);
    }

    [Fact]
    public void NystromOfFullRankIsTheInverse()
    {
        using var scope = NewDisposeScope();
        using var diagonal = new Diagonal(1, 3);
        using var nystrom = Nystrom.Fit(diagonal.Task, diagonal.Train, new() { Damping = Damping.Absolute(1) });
        Assert.Equal(0.75, diagonal.Product(nystrom), 1e-10);
        Assert.Equal(3, nystrom.Eigenvalues[0], 1e-10);
        Assert.Equal(1, nystrom.Eigenvalues[1], 1e-10);
    }

    /// <summary>Two orthonormal gradients, damping 0.1, g the first: 1/0.2 (2 - 1/1.1) = 5.4545, where the exact inverse has
    /// 1.6667.</summary>
    [Fact]
    public void DataInfOfTwoGradients()
    {
        using var scope = NewDisposeScope();

        // The gradient of 1/2 (x.w - y)^2 is x for y = x.w - 1.
        using var layer = nn.Linear(2, 1, hasBias: false, dtype: float64);
        layer.eval();
        using (no_grad())
        {
            layer.weight.fill_(0);
        }

        var train = Examples.FromTensors(eye(2, dtype: float64), full([2], -1, dtype: float64));
        var task = new InfluenceTask(layer) { TrainingLoss = b => 0.5 * Losses.SquaredError(layer.call(b[0]).squeeze(1), b[1]) };
        using var dataInf = DataInf.Fit(task, train, new() { Damping = Damping.Absolute(0.1) });
        using var scores = new InfluenceFunction(dataInf).Score(task, train, train);
        Assert.Equal(1 / 0.2 * (2 - (1 / 1.1)), scores.Values[0, 0].item<double>(), 1e-10);
        Assert.Equal(0, scores.Values[0, 1].item<double>(), 1e-10);

        // With one example the mean of inverses is the inverse.
        var first = Examples.FromTensors(eye(2, dtype: float64)[..1], full([1], -1, dtype: float64));
        using var exact = DataInf.Fit(task, first, new() { Damping = Damping.Absolute(0.1) });
        using var one = new InfluenceFunction(exact).Score(task, first, first);
        Assert.Equal(1 / 1.1, one.Values[0, 0].item<double>(), 1e-10);
    }
}

/// <summary>One weight w, losses x w^2 over examples x: curvature 2 x.</summary>
internal sealed class Scalar : IDisposable
{
    private readonly TorchSharp.Modules.Linear _layer = nn.Linear(1, 1, hasBias: false, dtype: float64);
    private readonly Tensor _x;

    public Scalar(params double[] x)
    {
        _layer.eval();
        _x = tensor(x.Select(Math.Sqrt).ToArray()).reshape(-1, 1);
        Train = Examples.FromTensors(_x);
        Task = new InfluenceTask(_layer) { TrainingLoss = b => Losses.SquaredError(_layer.call(b[0]), zeros_like(b[0])) };
    }

    public InfluenceTask Task { get; }

    public Examples Train { get; }

    /// <summary>The inverse times 1.</summary>
    public double Solve(Preconditioner preconditioner)
    {
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(Task, Train, null);
        using var inverse = preconditioner.Prepare(session, null, 0, default);
        return ((VectorInverse)inverse).Solve(ones([1, 1], dtype: float64)).item<double>();
    }

    public void Dispose()
    {
        _x.Dispose();
        _layer.Dispose();
    }
}

/// <summary>Weights whose curvature is diagonal.</summary>
internal sealed class Diagonal : IDisposable
{
    private readonly TorchSharp.Modules.Linear _layer;
    private readonly Tensor _x;

    public Diagonal(params double[] eigenvalues)
    {
        _layer = nn.Linear(eigenvalues.Length, 1, hasBias: false, dtype: float64);
        _layer.eval();

        // The mean over N examples, each with curvature 2 x x'.
        _x = diag(tensor(eigenvalues.Select(l => Math.Sqrt(l * eigenvalues.Length / 2)).ToArray()));
        Train = Examples.FromTensors(_x);
        Task = new InfluenceTask(_layer)
        {
            TrainingLoss = b => Losses.SquaredError(_layer.call(b[0]).squeeze(1), zeros(b.Count, dtype: float64)),
        };
    }

    public InfluenceTask Task { get; }

    public Examples Train { get; }

    /// <summary>(1, 1)' inverse (1, 1).</summary>
    public double Product(Preconditioner preconditioner)
    {
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(Task, Train, null);
        using var inverse = preconditioner.Prepare(session, null, 0, default);
        return ((VectorInverse)inverse).Solve(ones([1, _x.shape[0]], dtype: float64)).sum().item<double>();
    }

    public void Dispose()
    {
        _x.Dispose();
        _layer.Dispose();
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
        Train = Examples.FromTensors(
            ("x", tensor(new double[] { 1, 0, 0, 1, 1, 1 }).reshape(3, 2)),
            ("y", tensor(new double[] { 1, 2, 2 }))
        );
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
