using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>What solvers leave behind: nothing in the model, no tensors; and what they refuse.</summary>
public class SolverStateTests
{
    public static TheoryData<string> Methods =>
        ["dense", "cg", "cg hessian", "lissa", "arnoldi", "nystrom", "datainf", "astra", "astra cg"];

    [Theory]
    [MemberData(nameof(Methods))]
    public void TheModelIsLeftAsItWasAndNoTensorStays(string method)
    {
        using var classifier = new Classifier();
        classifier.PlainLoss([classifier.X, classifier.Y]).sum().backward();
        classifier.Hidden.bias!.grad = null;
        var state = ModelState.Of(classifier.Model, classifier.X);
        using var inner = NoCurvature.Fit(classifier.Task(), classifier.Train);
        for (var run = 0; run < 2; run++)
        {
            using var outer = NewDisposeScope();
            var before = LiveTensors.OnThisThread;
            using (var fitted = Fit(method, classifier.Task(), classifier.Train, inner))
            {
                using var scores = new InfluenceFunction(fitted).Score(classifier.Task(), classifier.Train, classifier.Queries);
                new InfluenceFunction(fitted).SelfInfluence(classifier.Task(), classifier.Train);
            }

            // The first run also fills caches of the tensor library.
            Assert.True(run == 0 || LiveTensors.OnThisThread <= before, $"{LiveTensors.OnThisThread - before} tensors");
        }

        state.AssertUnchanged(classifier.Model, classifier.X);
    }

    /// <summary>Self-influence is the diagonal of the scores of the training examples against themselves.</summary>
    [Theory]
    [MemberData(nameof(Methods))]
    public void SelfInfluenceIsTheDiagonal(string method)
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var inner = NoCurvature.Fit(classifier.Task(), classifier.Train);
        using var fitted = Fit(method, classifier.Task(), classifier.Train, inner);
        using var pairs = new InfluenceFunction(fitted).Score(classifier.Task(), classifier.Train, classifier.Train);
        var self = new InfluenceFunction(fitted).SelfInfluence(classifier.Task(), classifier.Train);

        // The same solves in both, to rounding.
        Assert.True(SingleExampleLoop.RelativeError(tensor(self.Values.ToArray()), pairs.Values.diagonal()) < 1e-9);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void CancellationLeavesTheModelAsItWas(string method)
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var inner = NoCurvature.Fit(classifier.Task(), classifier.Train);
        var state = ModelState.Of(classifier.Model, classifier.X);
        Assert.ThrowsAny<OperationCanceledException>(() =>
            Fit(method, classifier.Task(), classifier.Train, inner, new CancellationToken(canceled: true))
        );
        state.AssertUnchanged(classifier.Model, classifier.X);

        using var fitted = Fit(method, classifier.Task(), classifier.Train, inner);
        using var source = new CancellationTokenSource();

        // Cancelled by the model itself, in the middle of what is being solved.
        var calls = 0;
        var task = classifier.Task(b =>
        {
            if (++calls == 14)
            {
                source.Cancel();
            }

            return classifier.Loss(b);
        });
        Assert.ThrowsAny<OperationCanceledException>(() =>
            new InfluenceFunction(fitted).Score(task, classifier.Train, classifier.Queries with { BatchSize = 1 }, null, source.Token)
        );
        state.AssertUnchanged(classifier.Model, classifier.X);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void OtherWeightsAreRefused(string method)
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var inner = NoCurvature.Fit(classifier.Task(), classifier.Train);
        using var fitted = Fit(method, classifier.Task(), classifier.Train, inner);
        using (no_grad())
        {
            classifier.Head.bias!.add_(1);
        }

        var thrown = Assert.Throws<InfluenceException>(() =>
            new InfluenceFunction(fitted).Score(classifier.Task(), classifier.Train, classifier.Queries)
        );
        Assert.Contains("fitted at other weights", thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void BadExamplesAreRefused(string method)
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var inner = NoCurvature.Fit(classifier.Task(), classifier.Train);
        var empty = Examples.FromTensors(("x", classifier.X[..0]), ("y", classifier.Y[..0]));
        Assert.Contains(
            "are empty",
            Assert.Throws<InfluenceException>(() => Fit(method, classifier.Task(), empty, inner)).Message,
            StringComparison.Ordinal
        );

        var x = classifier.X.clone();
        x[7, 1] = double.NaN;
        var poisoned = Examples.FromTensors(("x", x), ("y", classifier.Y)) with { BatchSize = 4 };
        var thrown = Assert.Throws<InfluenceException>(() =>
        {
            using var fitted = Fit(method, classifier.Task(), poisoned, inner);
            using var scores = new InfluenceFunction(fitted).Score(classifier.Task(), classifier.Train, classifier.Queries);
        });
        Assert.Contains("NaN or infinite for the examples with ids 7", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([7L], thrown.ExampleIds);
    }

    /// <summary>The loss is finite, its second derivative is not: sqrt at zero.</summary>
    [Fact]
    public void SecondDerivativesThatAreNotFiniteNameTheExamples()
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        var x = classifier.X.clone();
        x[5].fill_(1e-200);
        var task = classifier.Task(b => classifier.Loss(b) + (classifier.Head.weight.sum() * b["x"].sum(1)).Squared().sqrt());
        var thrown = Assert.Throws<InfluenceException>(() =>
            DenseCurvature.Fit(
                task,
                Examples.FromTensors(("x", x), ("y", classifier.Y)) with
                {
                    BatchSize = 4,
                },
                new() { Matrix = CurvatureMatrix.Hessian }
            )
        );
        Assert.Contains("is NaN or too large", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([5L], thrown.ExampleIds);
    }

    [Fact]
    public void TooManyParametersNameTheOtherMethods()
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        var thrown = Assert.Throws<InfluenceException>(() =>
            DenseCurvature.Fit(classifier.Task(), classifier.Train, new() { MaximumParameters = 50 })
        );
        Assert.Contains("51 parameters", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("ConjugateGradient.Fit", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void GaussNewtonNeedsTheLibrarysLosses()
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        var plain = classifier.Task(b => classifier.PlainLoss([b["x"], b["y"]]));
        Assert.Contains(
            "CurvatureMatrix.Hessian",
            Assert.Throws<InfluenceException>(() => ConjugateGradient.Fit(plain, classifier.Train)).Message,
            StringComparison.Ordinal
        );
        using var hessian = ConjugateGradient.Fit(plain, classifier.Train, new() { Matrix = CurvatureMatrix.Hessian });

        var decayed = classifier.Task(b => classifier.Loss(b) + classifier.Head.weight.Squared().sum());
        Assert.Contains(
            "weight-decay",
            Assert.Throws<InfluenceException>(() => Nystrom.Fit(decayed, classifier.Train)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>The L1 distance has no second derivative in the tensor library.</summary>
    [Fact]
    public void ModelsThatCannotBeDifferentiatedTwiceAreRefused()
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var centres = nn.Parameter(randn([Classifier.Classes, 6], dtype: float64));
        using var model = new Composite(x => -cdist(classifier.Hidden.call(x), centres, 1), ("hidden", classifier.Hidden)).With(
            "centres",
            centres
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        using var tracIn = new TracIn().Score(task, classifier.Train, classifier.Queries);
        var state = ModelState.Of(model, classifier.X);
        var thrown = Assert.Throws<InfluenceException>(() => ConjugateGradient.Fit(task, classifier.Train));
        Assert.Contains("cannot be differentiated twice", thrown.Message, StringComparison.Ordinal);
        state.AssertUnchanged(model, classifier.X);
    }

    [Fact]
    public void PositionMasksAreRefused()
    {
        using var scope = NewDisposeScope();
        var made = SmallModels.Make("attention");
        var inputs = made.Inputs(3);
        var task = new InfluenceTask(made.Model)
        {
            TrainingLoss = b => made.Loss([b[0], b[1]]),
            PositionMask = b => b[1].ne(0),
            Layers = LayerSelection.Where(name => name.StartsWith("head", StringComparison.Ordinal)),
        };
        Assert.Contains(
            "PositionMask",
            Assert.Throws<InfluenceException>(() => Lissa.Fit(task, Examples.FromTensors(inputs))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void OptionsAreChecked()
    {
        Assert.Throws<InfluenceException>(() => new ConjugateGradient.Options { Tolerance = 0 });
        Assert.Throws<InfluenceException>(() => new ConjugateGradient.Options { MaximumIterations = 0 });
        Assert.Throws<InfluenceException>(() => new DenseCurvature.Options { MaximumParameters = 0 });
        Assert.Throws<InfluenceException>(() => new Lissa.Options { Depth = 0 });
        Assert.Throws<InfluenceException>(() => new Lissa.Options { Repeats = 0 });
        Assert.Throws<InfluenceException>(() => new Lissa.Options { BatchSize = 0 });
        Assert.Throws<InfluenceException>(() => new Lissa.Options { Scale = double.NaN });
        Assert.Throws<InfluenceException>(() => new Lissa.Options { Tolerance = 1 });
        Assert.Throws<InfluenceException>(() => new Arnoldi.Options { Iterations = 0 });
        Assert.Throws<InfluenceException>(() => new Arnoldi.Options { TopK = 0 });
        Assert.Throws<InfluenceException>(() => new Arnoldi.Options { Tolerance = double.NaN });
        Assert.Throws<InfluenceException>(() => new Nystrom.Options { Rank = 0 });
        Assert.Throws<InfluenceException>(() => new Astra.Options { Iterations = 0 });
        Assert.Throws<InfluenceException>(() => new Astra.Options { BatchSize = 0 });
        Assert.Throws<InfluenceException>(() => new Astra.Options { StepSize = 0 });
        Assert.Throws<InfluenceException>(() => new Astra.Options { Momentum = 1 });
        Assert.Throws<InfluenceException>(() => new Astra.Options { HalveEvery = 0 });
        Assert.Throws<InfluenceException>(() => new Astra.Options { Tolerance = 0 });
    }

    [Fact]
    public void SavedAndLoadedTheScoresAreTheSame()
    {
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var folder = new TempFolder();
        Check(
            DenseCurvature.Fit(classifier.Task(), classifier.Train),
            p => p.Save(folder.Path("dense.safetensors")),
            () => DenseCurvature.Load(folder.Path("dense.safetensors"))
        );
        Check(
            Arnoldi.Fit(classifier.Task(), classifier.Train, new() { Damping = Damping.Default }),
            p => p.Save(folder.Path("arnoldi.safetensors")),
            () => Arnoldi.Load(folder.Path("arnoldi.safetensors"))
        );
        Check(
            Nystrom.Fit(classifier.Task(), classifier.Train),
            p => p.Save(folder.Path("nystrom.safetensors")),
            () => Nystrom.Load(folder.Path("nystrom.safetensors"))
        );
        Assert.Contains(
            "not by Nystrom",
            Assert.Throws<InfluenceException>(() => Nystrom.Load(folder.Path("arnoldi.safetensors"))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            ".safetensors",
            Assert
                .Throws<InfluenceException>(() =>
                {
                    using var dense = DenseCurvature.Load(folder.Path("dense.safetensors"));
                    dense.Save(folder.Path("dense.npy"));
                })
                .Message,
            StringComparison.Ordinal
        );

        void Check<T>(T fitted, Action<T> save, Func<T> load)
            where T : Preconditioner
        {
            using var original = fitted;
            save(original);
            using var loaded = load();
            Assert.Equal(original.Info, loaded.Info);
            using var a = new InfluenceFunction(original).Score(classifier.Task(), classifier.Train, classifier.Queries);
            using var b = new InfluenceFunction(loaded).Score(classifier.Task(), classifier.Train, classifier.Queries);

            // The same numbers in another memory layout, so that sums are rounded otherwise.
            Assert.True(SingleExampleLoop.RelativeError(b.Values, a.Values) < 1e-13);
            Assert.Equal(a.Metadata.WithoutCost(), b.Metadata.WithoutCost());
        }
    }

    private static Preconditioner Fit(
        string method,
        InfluenceTask task,
        Examples train,
        Preconditioner inner,
        CancellationToken token = default
    ) =>
        method switch
        {
            "dense" => DenseCurvature.Fit(task, train, cancellationToken: token),
            "cg" => ConjugateGradient.Fit(task, train, new() { Tolerance = 1e-12 }, cancellationToken: token),
            "cg hessian" => ConjugateGradient.Fit(
                task,
                train,
                new()
                {
                    Matrix = CurvatureMatrix.Hessian,
                    Damping = Damping.Absolute(2),
                    Tolerance = 1e-12,
                },
                cancellationToken: token
            ),
            "lissa" => Lissa.Fit(task, train, new() { Depth = 20 }, cancellationToken: token),
            "arnoldi" => Arnoldi.Fit(task, train, cancellationToken: token),
            "nystrom" => Nystrom.Fit(task, train, new() { Rank = 10 }, cancellationToken: token),
            "datainf" => DataInf.Fit(task, train, cancellationToken: token),
            "astra" => Astra.Fit(task, train, inner, new() { Iterations = 10 }, cancellationToken: token),
            _ => Astra.Fit(
                task,
                train,
                inner,
                new() { Iteration = Astra.Kind.ConjugateGradient, Tolerance = 1e-12 },
                cancellationToken: token
            ),
        };
}
