using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Every solver against the dense inverse of the Gauss-Newton matrix, at a damping of a tenth of the largest eigenvalue.</summary>
public class AgreementTests(ITestOutputHelper output)
{
    public static TheoryData<string> Small => SmallModels.Names;

    /// <summary>
    /// Gradients lie in the range of the Gauss-Newton matrix, which has at most 7 examples x 3 outputs of rank: once all of
    /// it is found, a low-rank inverse is exact on them but for rounding, some 1e-14 here.
    /// </summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void ArnoldiAndNystromOfFullRankAreExact(string name)
    {
        using var scope = NewDisposeScope();
        using var test = new Setting(name);
        using var arnoldi = Arnoldi.Fit(test.Task, test.Train, new() { Damping = test.Damping, Tolerance = 1e-13 });
        Assert.True(test.Error(arnoldi, output) < 1e-10);
        using var nystrom = Nystrom.Fit(test.Task, test.Train, new() { Damping = test.Damping });
        Assert.True(test.Error(nystrom, output) < 1e-10);
    }

    /// <summary>With more eigenvalues both come nearer; those of Arnoldi are the largest of the matrix.</summary>
    [Fact]
    public void FewerEigenvaluesAreAnApproximation()
    {
        using var scope = NewDisposeScope();
        using var test = new Setting("mlp");
        var (nystromErrors, arnoldiErrors) = (new List<double>(), new List<double>());
        foreach (var rank in new[] { 4, 9, 14 })
        {
            using var nystrom = Nystrom.Fit(test.Task, test.Train, new() { Damping = test.Damping, Rank = rank });
            Assert.Equal(rank, nystrom.Eigenvalues.Count);
            nystromErrors.Add(test.Error(nystrom, output));
            using var arnoldi = Arnoldi.Fit(test.Task, test.Train, new() { Damping = test.Damping, TopK = rank });
            Assert.Equal(
                test.Dense.Eigenvalues.OrderByDescending(Math.Abs).Take(rank),
                arnoldi.Eigenvalues,
                (a, b) => Math.Abs(a - b) < 1e-9
            );
            arnoldiErrors.Add(test.Error(arnoldi, output));
        }

        foreach (var errors in new[] { nystromErrors, arnoldiErrors })
        {
            Assert.True(errors[0] > errors[1] && errors[1] > 1e-3 && errors[2] < 1e-10, string.Join(", ", errors));
        }
    }

    /// <summary>To the residual that it stops at, times at most the condition number of 11.</summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void LissaOverAllExamples(string name)
    {
        using var scope = NewDisposeScope();
        using var test = new Setting(name);
        using var lissa = Lissa.Fit(test.Task, test.Train, new() { Damping = test.Damping, Tolerance = 1e-6 });
        Assert.True(test.Error(lissa, output) < 1e-5);
    }

    /// <summary>
    /// Conjugate gradients to their residual; momentum as far as two hundred steps take it on all examples. Both start from a
    /// preconditioner that is far from exact.
    /// </summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void AstraOverEkfac(string name)
    {
        using var scope = NewDisposeScope();
        using var test = new Setting(name);
        using var ekfac = Ekfac.Fit(test.Task, test.Train, new Ekfac.Options { Seed = 1 });
        var before = test.Error(ekfac, output, test.Damping);
        using var solved = Astra.Fit(
            test.Task,
            test.Train,
            ekfac,
            new()
            {
                Damping = test.Damping,
                Iteration = Astra.Kind.ConjugateGradient,
                Tolerance = 1e-10,
            }
        );
        Assert.True(test.Error(solved, output) < 1e-8);

        using var walked = Astra.Fit(test.Task, test.Train, ekfac, new() { Damping = test.Damping });
        var after = test.Error(walked, output);
        Assert.True(after < 1e-3 && after < before / 10, $"{before} to {after}");
    }

    /// <summary>An exact inner inverse leaves nothing to do.</summary>
    [Fact]
    public void AstraOverTheExactInverseStays()
    {
        using var scope = NewDisposeScope();
        using var test = new Setting("conv net");
        using var astra = Astra.Fit(test.Task, test.Train, test.Dense, new() { Damping = test.Damping, Iterations = 5 });
        Assert.True(test.Error(astra, output) < 1e-9);
        using var scores = new InfluenceFunction(astra).Score(test.Task, test.Train, test.Queries);
        Assert.Contains("before the refinement", scores.Metadata.Curvature, StringComparison.Ordinal);
    }

    /// <summary>In float32 the solvers give the float64 scores to single precision times the condition number.</summary>
    [Fact]
    public void SinglePrecision()
    {
        using var scope = NewDisposeScope();
        using var test = new Setting("mlp");
        var expected = test.Exact.Values;
        test.Made.Model.to(float32);
        Examples Narrow(Tensor[] inputs) => Examples.FromTensors([.. inputs.Select(t => t.is_floating_point() ? t.to_type(float32) : t)]);
        var (train, queries) = (Narrow(test.TrainInputs), Narrow(test.QueryInputs));
        Preconditioner[] all =
        [
            DenseCurvature.Fit(test.Task, train),
            ConjugateGradient.Fit(test.Task, train),
            Nystrom.Fit(test.Task, train),
            Lissa.Fit(test.Task, train, new() { Tolerance = 1e-5 }),
        ];
        foreach (var preconditioner in all)
        {
            using var scores = new InfluenceFunction(preconditioner) { Damping = test.Damping }.Score(test.Task, train, queries);
            Assert.Equal(ScalarType.Float32, scores.Values.dtype);
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-4, preconditioner.Info.Method);
            preconditioner.Dispose();
        }
    }

    private sealed class Setting : IDisposable
    {
        public Setting(string name)
        {
            (Made, TrainInputs, QueryInputs, _) = SolverTests.Data(name);
            (Task, Train, Queries) = (Made.Task(), Examples.FromTensors(TrainInputs), Examples.FromTensors(QueryInputs));
            Dense = DenseCurvature.Fit(Task, Train);
            Damping = Damping.Absolute(0.1 * Dense.Eigenvalues[^1]);
            Exact = new InfluenceFunction(Dense) { Damping = Damping }.Score(Task, Train, Queries);
        }

        public ModelCase Made { get; }

        public Tensor[] TrainInputs { get; }

        public Tensor[] QueryInputs { get; }

        public InfluenceTask Task { get; }

        public Examples Train { get; }

        public Examples Queries { get; }

        public DenseCurvature Dense { get; }

        public Damping Damping { get; }

        public InfluenceScores Exact { get; }

        /// <summary>Of the scores, relative to the largest.</summary>
        public double Error(Preconditioner preconditioner, ITestOutputHelper output, Damping? damping = null)
        {
            using var scores = new InfluenceFunction(preconditioner) { Damping = damping, Tolerance = 0 }.Score(Task, Train, Queries);
            var error = SingleExampleLoop.RelativeError(scores.Values, Exact.Values);
            output.WriteLine($"{error:E1} {preconditioner.Info.Method}: {scores.Metadata.Curvature}");
            return error;
        }

        public void Dispose()
        {
            Exact.Dispose();
            Dense.Dispose();
        }
    }
}
