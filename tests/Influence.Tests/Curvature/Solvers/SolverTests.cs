using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Solvers against linear algebra on the written-out matrix of differences, and against one another.</summary>
public class SolverTests
{
    public static TheoryData<string> Small => SmallModels.Names;

    /// <summary>Scores of both from matrices that know nothing of the library; the differences are good to 1e-8.</summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void DenseHessianIsTheHessian(string name)
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, parts) = Data(name);
        var hessian = CurvatureOracle.Hessian(made, train, parts);
        var damping = Damping.Absolute(1 - Math.Min(0, linalg.eigvalsh(hessian)[0].item<double>()));
        var expected = Scores(hessian, damping.Value, made, train, queries, parts);

        using var dense = DenseCurvature.Fit(
            made.Task(),
            Examples.FromTensors(train),
            new DenseCurvature.Options { Matrix = CurvatureMatrix.Hessian, Damping = damping }
        );
        using var scores = new InfluenceFunction(dense).Score(made.Task(), Examples.FromTensors(train), Examples.FromTensors(queries));

        Assert.True(SingleExampleLoop.RelativeError(dense.Matrix, hessian) < 1e-7);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-7);
    }

    /// <summary>Conjugate gradients give the scores of the matrix to their residual times the condition number, 10 here.</summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void ConjugateGradientsEqualTheDenseInverse(string name)
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, _) = Data(name);
        foreach (var matrix in Enum.GetValues<CurvatureMatrix>())
        {
            using var dense = DenseCurvature.Fit(made.Task(), Examples.FromTensors(train), new DenseCurvature.Options { Matrix = matrix });
            var damping = Damping.Absolute((0.1 * dense.Eigenvalues[^1]) - Math.Min(0, 2 * dense.Eigenvalues[0]));
            using var cg = ConjugateGradient.Fit(made.Task(), Examples.FromTensors(train), new() { Matrix = matrix, Tolerance = 1e-11 });
            using var exact = new InfluenceFunction(dense) { Damping = damping }.Score(
                made.Task(),
                Examples.FromTensors(train),
                Examples.FromTensors(queries)
            );
            using var solved = new InfluenceFunction(cg) { Damping = damping }.Score(
                made.Task(),
                Examples.FromTensors(train),
                Examples.FromTensors(queries)
            );

            Assert.True(SingleExampleLoop.RelativeError(solved.Values, exact.Values) < 1e-9, $"{name} {matrix}");
            Assert.Contains("largest relative residual", solved.Metadata.Curvature, StringComparison.Ordinal);
            Assert.DoesNotContain("above the tolerance", solved.Metadata.Curvature, StringComparison.Ordinal);
        }
    }

    /// <summary>The same batch of queries in one piece or several, training batches of any size.</summary>
    [Fact]
    public void BatchSizesDoNotMatter()
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, _) = Data("conv net");
        using var one = ConjugateGradient.Fit(made.Task(), Examples.FromTensors(train), new() { Tolerance = 1e-12 });
        using var other = ConjugateGradient.Fit(
            made.Task(),
            Examples.FromTensors(train) with
            {
                BatchSize = 2,
            },
            new() { Tolerance = 1e-12 }
        );
        using var a = new InfluenceFunction(one).Score(made.Task(), Examples.FromTensors(train), Examples.FromTensors(queries));
        using var b = new InfluenceFunction(other).Score(
            made.Task(),
            Examples.FromTensors(train) with
            {
                BatchSize = 3,
            },
            Examples.FromTensors(queries) with
            {
                BatchSize = 1,
            }
        );
        Assert.True(SingleExampleLoop.RelativeError(a.Values, b.Values) < 1e-9);
    }

    /// <summary>
    /// A relative damping is a factor on the trace over P, of which solvers have an estimate by sixteen vectors of signs: some 10
    /// percent off, a third at worst. Also where the loss is a mean over positions, or has a weight.
    /// </summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void RelativeDampingFollowsTheTrace(string name)
    {
        using var scope = NewDisposeScope();
        var made = SmallModels.Make(name);
        var train = Examples.FromTensors(made.Inputs(32));
        foreach (var matrix in Enum.GetValues<CurvatureMatrix>())
        {
            using var dense = DenseCurvature.Fit(made.Task(), train, new DenseCurvature.Options { Matrix = matrix });
            using var cg = ConjugateGradient.Fit(made.Task(), train, new() { Matrix = matrix });
            using var session = GradientSession.Open(made.Task(), train, null);
            var damping = Damping.RelativeToMeanEigenvalue(100);
            using var exact = dense.Prepare(session, damping, 0, default);
            using var estimated = cg.Prepare(session, damping, 0, default);
            Assert.Equal(100 * dense.Eigenvalues.Average(), exact.Dampings.Single().Damping, 1e-12);
            Assert.InRange(estimated.Dampings.Single().Damping / exact.Dampings.Single().Damping, 0.65, 1.5);
        }
    }

    /// <summary>Without damping the dense inverse is the pseudo-inverse: the Gauss-Newton matrix of 7 examples has far less than full
    /// rank.</summary>
    [Fact]
    public void WithoutDampingItIsThePseudoInverse()
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, parts) = Data("mlp");
        using var dense = DenseCurvature.Fit(
            made.Task(),
            Examples.FromTensors(train),
            new DenseCurvature.Options { Damping = Damping.Absolute(0) }
        );
        using var scores = new InfluenceFunction(dense).Score(made.Task(), Examples.FromTensors(train), Examples.FromTensors(queries));
        var pseudo = linalg.pinv(dense.Matrix, hermitian: true, rtol: 1e-12);
        var expected = CurvatureOracle.Gradients(made, queries, parts).mm(pseudo).mm(CurvatureOracle.Gradients(made, train, parts).t());

        // Rounding times the condition number on the range, 1e4.
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-9);
    }

    /// <summary>A damping of zero on a float32 model leaves out what is zero to float32's rounding, where the products were made.</summary>
    [Fact]
    public void ThePseudoInverseOfAFloat32ModelKnowsItsRounding()
    {
        using var scope = NewDisposeScope();
        using var wide = new Classifier(train: 4);
        using var narrow = new Classifier(train: 4, dtype: ScalarType.Float32);
        using (no_grad())
        {
            foreach (var (to, from) in narrow.Model.parameters().Zip(wide.Model.parameters()))
            {
                to.copy_(from);
            }

            narrow.X.copy_(wide.X);
            narrow.QueryX.copy_(wide.QueryX);
        }

        var (expected, spectrum) = Score(wide);
        var (found, _) = Score(narrow);

        // Rank 8 of 51: four examples with two free logits each. The eight are above 1e-3 of the largest, so float32 leaves four digits.
        Assert.Equal(8, spectrum.Count(l => l > 1e-3 * spectrum[^1]));
        Assert.Equal(43, spectrum.Count(l => l < 1e-12 * spectrum[^1]));
        Assert.True(SingleExampleLoop.RelativeError(found, expected) < 1e-3, $"{SingleExampleLoop.RelativeError(found, expected):E2}");

        (Tensor Scores, IReadOnlyList<double> Spectrum) Score(Classifier classifier)
        {
            var train = Examples.FromTensors(("x", classifier.X), ("y", wide.Y));
            using var fit = DenseCurvature.Fit(classifier.Task(), train, new() { Damping = Damping.Absolute(0) });

            // Of training examples, whose gradients lie within the range.
            return (new InfluenceFunction(fit).Score(classifier.Task(), train, train).Values, fit.Eigenvalues);
        }
    }

    /// <summary>Memory does not grow with the iterations: every product finds as many tensors as the first ones did.</summary>
    [Fact]
    public void IterationsKeepNothing()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var diagonal = logspace(0, 4, 60, dtype: float64);
        var live = new List<long>();
        var (_, iterations, _) = new ConjugateGradientIteration(Multiply, null, 1e-10, 200).Solve(randn([2, 60], dtype: float64));

        // The two rows may converge one after the other: at the end there may be fewer.
        Assert.True(iterations > 50);
        Assert.True(live[iterations - 1] <= live[1] + 2, $"{live[1]} tensors, then {live[iterations - 1]}");

        Tensor Multiply(Tensor v)
        {
            live.Add(LiveTensors.OnThisThread);
            return v * diagonal;
        }
    }

    /// <summary>l-RelatIF divides by a root that a negative self-influence does not have.</summary>
    [Fact]
    public void ANegativeSelfInfluenceIsNamed()
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, _) = Data("mlp");
        using var arnoldi = Arnoldi.Fit(made.Task(), Examples.FromTensors(train), new() { Matrix = CurvatureMatrix.Hessian });
        Assert.True(arnoldi.Eigenvalues.Min() < 0);
        var influence = new InfluenceFunction(arnoldi) { Normalization = InfluenceFunction.ScoreNormalization.Loss };
        var thrown = Assert.Throws<InfluenceException>(() =>
            influence.Score(made.Task(), Examples.FromTensors(train), Examples.FromTensors(queries))
        );
        Assert.Contains("negative", thrown.Message, StringComparison.Ordinal);
        Assert.NotEmpty(thrown.ExampleIds);
    }

    /// <summary>Too few iterations are no error, but the metadata and the log say so, with the residual that is really left.</summary>
    [Fact]
    public void StoppingEarlyIsReported()
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, _) = Data("mlp");
        var messages = new Messages();
        var task = new InfluenceTask(made.Model) { TrainingLoss = b => made.Loss([b[0], b[1]]), Logger = messages };
        using var cg = ConjugateGradient.Fit(task, Examples.FromTensors(train), new() { MaximumIterations = 2 });
        using var scores = new InfluenceFunction(cg).Score(task, Examples.FromTensors(train), Examples.FromTensors(queries));
        Assert.Contains("2 iterations", scores.Metadata.Curvature, StringComparison.Ordinal);
        Assert.Contains("above the tolerance of 1E-06", scores.Metadata.Curvature, StringComparison.Ordinal);
        Assert.Contains(messages.All, m => m.StartsWith("Conjugate gradient stopped before", StringComparison.Ordinal));
    }

    [Fact]
    public void NegativeCurvatureIsRefused()
    {
        using var scope = NewDisposeScope();
        var (made, train, queries, _) = Data("mlp");
        var task = made.Task();
        using var dense = DenseCurvature.Fit(
            task,
            Examples.FromTensors(train),
            new DenseCurvature.Options { Matrix = CurvatureMatrix.Hessian }
        );
        Assert.True(dense.Eigenvalues[0] < -1e-3, "The model is not at a minimum.");
        var tooLittle = Damping.Absolute(-0.1 * dense.Eigenvalues[0]);
        var refused = Assert.Throws<InfluenceException>(() =>
            new InfluenceFunction(dense) { Damping = tooLittle }.Score(task, Examples.FromTensors(train), Examples.FromTensors(queries))
        );
        Assert.Contains("not positive definite", refused.Message, StringComparison.Ordinal);
        Assert.Contains("Damping.Absolute", refused.Message, StringComparison.Ordinal);

        using var cg = ConjugateGradient.Fit(
            task,
            Examples.FromTensors(train),
            new() { Matrix = CurvatureMatrix.Hessian, Tolerance = 1e-12 }
        );
        var stopped = Assert.Throws<InfluenceException>(() =>
            new InfluenceFunction(cg) { Damping = tooLittle }.Score(task, Examples.FromTensors(train), Examples.FromTensors(queries))
        );
        Assert.Contains("GaussNewton", stopped.Message, StringComparison.Ordinal);
    }

    internal static (ModelCase Made, Tensor[] Train, Tensor[] Queries, IReadOnlyList<ParameterPart> Parts) Data(string name)
    {
        var made = SmallModels.Make(name);
        var (train, queries) = (made.Inputs(7), made.Inputs(3));
        using var session = GradientSession.Open(made.Task(), Examples.FromTensors(train), null);
        return (made, train, queries, new ParameterVector(session).Parts);
    }

    internal static Tensor Scores(
        Tensor matrix,
        double damping,
        ModelCase made,
        Tensor[] train,
        Tensor[] queries,
        IReadOnlyList<ParameterPart> parts
    )
    {
        var damped = matrix + (damping * eye(matrix.shape[0], dtype: float64));
        return CurvatureOracle.Gradients(made, queries, parts).mm(linalg.solve(damped, CurvatureOracle.Gradients(made, train, parts).t()));
    }
}
