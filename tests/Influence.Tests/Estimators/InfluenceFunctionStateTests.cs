using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Curvature;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Fits and scores leave the model as they found it and no tensor behind, also when they are stopped half-way; and say how far
/// they are.</summary>
public sealed class InfluenceFunctionStateTests : IDisposable
{
    private readonly Classifier _c = new();
    private readonly LayerwisePreconditioner _fit;

    public InfluenceFunctionStateTests()
    {
        // A state that nothing sets by chance: a frozen parameter, a grad of the caller's, a module in training mode.
        _c.Hidden.bias!.requires_grad = false;
        using var scope = NewDisposeScope();
        _c.PlainLoss([_c.X, _c.Y]).sum().backward();
        _c.Model.train();
        _c.Head.eval();
        _fit = Kfac.Fit(_c.Task(), _c.Train);
    }

    public static TheoryData<string> Calls =>
        [
            "fit EK-FAC",
            "fit EK-FAC in two passes",
            "fit EK-FAC with single examples",
            "fit K-FAC",
            "fit diagonal Fisher",
            "fit sampled",
            "load",
            "score",
            "score exactly",
            "score with little memory",
            "score layers",
            "self-influence",
            "mean query",
            "theta-RelatIF",
            "l-RelatIF",
            "score with single examples",
        ];

    public void Dispose()
    {
        _fit.Dispose();
        _c.Dispose();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterACall(string call)
    {
        var reports = new Reports();
        AssertUnchanged(() =>
        {
            reports.All.Clear();
            Run(call, _c.Loss, reports);
        });
        if (call == "load")
        {
            return;
        }

        // Up to the end, and never back.
        Assert.Equal(1, reports.All[^1].Fraction);
        Assert.Equal(reports.All[^1].Total, reports.All[^1].Done);
        Assert.Equal(reports.All.Select(r => r.Done).Order(), reports.All.Select(r => r.Done));
        var passes = call switch
        {
            "fit EK-FAC" or "fit EK-FAC in two passes" or "fit EK-FAC with single examples" or "fit sampled" => 2,
            "score with little memory" => 4,
            _ => 1,
        };
        Assert.Equal(passes * 11, reports.All[^1].Total);
        Assert.Contains(
            call.StartsWith("fit", StringComparison.Ordinal) ? "fit"
                : call.StartsWith("self", StringComparison.Ordinal) ? "self-influence"
                : "scoring",
            reports.All[0].Stage,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterCancellation(string call)
    {
        if (call == "load")
        {
            return;
        }

        AssertUnchanged(() =>
        {
            using var source = new CancellationTokenSource();
            var reports = new Reports(_ => source.Cancel());
            Assert.ThrowsAny<OperationCanceledException>(() => Run(call, _c.Loss, reports, source.Token));
            Assert.Single(reports.All);
        });
    }

    /// <summary>Cancelled in the second pass, when the covariances are decomposed already.</summary>
    [Fact]
    public void AfterCancellationInTheSecondPass() =>
        AssertUnchanged(() =>
        {
            using var source = new CancellationTokenSource();
            var reports = new Reports(report =>
            {
                if (report.Done > 11)
                {
                    source.Cancel();
                }
            });
            Assert.ThrowsAny<OperationCanceledException>(() => Run("fit EK-FAC in two passes", _c.Loss, reports, source.Token));
            Assert.True(reports.All[^1].Done > 11);
        });

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterAnExceptionInTheLoss(string call)
    {
        if (call == "load")
        {
            return;
        }

        AssertUnchanged(() =>
        {
            var thrown = Assert.Throws<InfluenceException>(() => Run(call, FailAt(9)));
            Assert.IsType<InvalidOperationException>(thrown.InnerException);
        });
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterAnExceptionInProgress(string call)
    {
        if (call == "load")
        {
            return;
        }

        AssertUnchanged(() =>
            Assert.Throws<InvalidTimeZoneException>(() => Run(call, _c.Loss, new Reports(_ => throw new InvalidTimeZoneException())))
        );
    }

    private void AssertUnchanged(Action call)
    {
        var state = ModelState.Of(_c.Model, _c.QueryX);

        // Once to let TorchSharp make what it keeps.
        call();
        var before = LiveTensors.OnThisThread;

        call();
        Assert.Equal(before, LiveTensors.OnThisThread);

        // Within a scope of the caller's nothing may linger in it either.
        using (var scope = NewDisposeScope())
        {
            call();
            Assert.Equal(0, scope.DisposablesCount);
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
        state.AssertUnchanged(_c.Model, _c.QueryX);
    }

    private Func<ExampleBatch, Tensor> FailAt(long id) =>
        batch => batch.Ids.Contains(id) ? throw new InvalidOperationException("no more") : _c.Loss(batch);

    private void Run(
        string call,
        Func<ExampleBatch, Tensor> loss,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken token = default
    )
    {
        // Query ids lie beyond those of the training examples, which is where a loss is made to fail.
        var train = _c.Train with
        {
            BatchSize = 3,
        };
        var queries = _c.Queries with { BatchSize = 1, Ids = [100, 101, 102, 103] };
        var task = new InfluenceTask(_c.Model)
        {
            TrainingLoss = call.EndsWith("single examples", StringComparison.Ordinal)
                ? b => loss(b) + _c.Head.weight.Squared().sum()
                : loss,
        };
        var options = LayerwiseMethods.Empirical;
        switch (call)
        {
            case "fit EK-FAC" or "fit EK-FAC with single examples" or "fit K-FAC" or "fit diagonal Fisher":
                LayerwiseMethods
                    .FitLayerwise(
                        call[4..].Replace(" with single examples", string.Empty, StringComparison.Ordinal),
                        task,
                        train,
                        options,
                        progress,
                        token
                    )
                    .Dispose();
                break;
            case "fit EK-FAC in two passes":
                // Enough for the fit, too little for all batches to wait for each other.
                Ekfac
                    .Fit(task, train, options with { MemoryBudget = Ekfac.Estimate(_c.Task(), train).PeakBytes + 1000 }, progress, token)
                    .Dispose();
                break;
            case "fit sampled":
                Ekfac.Fit(task, train, null, progress, token).Dispose();
                break;
            case "load":
                using (var folder = new TempFolder())
                {
                    _fit.Save(folder.Path("fit.safetensors"));
                    Kfac.Load(folder.Path("fit.safetensors")).Dispose();
                }

                break;
            case "self-influence":
                _ = new InfluenceFunction(_fit).SelfInfluence(task, train, progress, token);
                break;
            case "score layers":
                new InfluenceFunction(_fit).ScoreLayers(task, train, queries, progress, token).Dispose();
                break;
            case "score with single examples":
                // The fit's parameters are the same; how their gradients are taken is not.
                using (var fit = DiagonalFisher.Fit(WithoutFailure(task), train, options, null, CancellationToken.None))
                {
                    new InfluenceFunction(fit).Score(task, train, queries, progress, token).Dispose();
                }

                break;
            default:
                new InfluenceFunction(_fit)
                {
                    Tolerance = call == "score exactly" ? 0 : 1e-3,
                    MemoryBudget = call == "score with little memory" ? 1 : 1L << 30,
                    Aggregation = call == "mean query" ? InfluenceFunction.QueryAggregation.Mean : InfluenceFunction.QueryAggregation.None,
                    Normalization = call switch
                    {
                        "theta-RelatIF" => InfluenceFunction.ScoreNormalization.Theta,
                        "l-RelatIF" => InfluenceFunction.ScoreNormalization.Loss,
                        _ => InfluenceFunction.ScoreNormalization.None,
                    },
                }
                    .Score(task, train, queries, progress, token)
                    .Dispose();
                break;
        }
    }

    /// <summary>The same task with a loss that works for every example.</summary>
    private InfluenceTask WithoutFailure(InfluenceTask task) =>
        new(task.Model) { TrainingLoss = b => _c.Loss(b) + _c.Head.weight.Squared().sum() };
}
