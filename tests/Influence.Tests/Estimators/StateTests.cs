using System.Runtime.CompilerServices;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>A call leaves the model as it found it and no tensor behind, also when it is stopped half-way.</summary>
public sealed class StateTests : IDisposable
{
    private readonly Classifier _c = new();
    private readonly TempFolder _folder = new();

    public StateTests()
    {
        // A state that nothing sets by chance: a frozen parameter, a grad of the caller's, a module in training mode.
        _c.Hidden.bias!.requires_grad = false;
        using var scope = NewDisposeScope();
        _c.PlainLoss([_c.X, _c.Y]).sum().backward();
        _c.Model.train();
        _c.Head.eval();
        using (no_grad())
        {
            // Other weights than the model's, both times.
            _c.Head.weight.mul_(4);
            var early = Checkpoint.Save(_folder.Path("early"), _c.Model, 0.5);
            _c.Head.weight.mul_(0.5);
            Checkpoints = [early, Checkpoint.Save(_folder.Path("late"), _c.Model, 0.25)];
            _c.Head.weight.mul_(0.5);
        }
    }

    public static TheoryData<string> Calls =>
        [
            "score",
            "cosine",
            "self",
            "checkpoints",
            "checkpoints self",
            "coverage",
            "last",
            "single examples",
            "small budget",
            "small budget self",
        ];

    public static TheoryData<string> LongCalls =>
        ["score", "cosine", "self", "checkpoints", "checkpoints self", "last", "single examples", "small budget", "small budget self"];

    private IReadOnlyList<Checkpoint> Checkpoints { get; }

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterACall(string call) => AssertUnchanged(() => Run(call, _c.Loss));

    [Theory]
    [MemberData(nameof(LongCalls))]
    public void AfterAnExceptionInTheLoss(string call) =>
        AssertUnchanged(() =>
        {
            var thrown = Assert.Throws<InfluenceException>(() => Run(call, FailAt(9)));
            Assert.IsType<InvalidOperationException>(thrown.InnerException);
            Assert.Contains("no more", thrown.Message, StringComparison.Ordinal);

            Assert.Equal([9], thrown.ExampleIds);
        });

    /// <summary>The first examples are used for checks: they fail before anything is scored.</summary>
    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterAnExceptionInTheFirstBatch(string call) =>
        AssertUnchanged(() => Assert.Throws<InfluenceException>(() => Run(call, FailAt(0))));

    [Theory]
    [MemberData(nameof(LongCalls))]
    public void AfterCancellation(string call) =>
        AssertUnchanged(() =>
        {
            using var source = new CancellationTokenSource();
            var reports = new Reports(_ => source.Cancel());
            Assert.ThrowsAny<OperationCanceledException>(() => Run(call, _c.Loss, reports, source.Token));
            Assert.Single(reports.All);
        });

    [Theory]
    [MemberData(nameof(LongCalls))]
    public void AfterCancellationBeforeTheStart(string call) =>
        AssertUnchanged(() =>
            Assert.ThrowsAny<OperationCanceledException>(() => Run(call, _c.Loss, null, new CancellationToken(canceled: true)))
        );

    [Theory]
    [MemberData(nameof(LongCalls))]
    public void AfterAnExceptionInProgress(string call) =>
        AssertUnchanged(() =>
            Assert.Throws<InvalidTimeZoneException>(() => Run(call, _c.Loss, new Reports(_ => throw new InvalidTimeZoneException())))
        );

    [Fact]
    public void AfterACheckpointThatDoesNotFit()
    {
        using var other = nn.Linear(2, 2);
        var misfit = Checkpoint.Save(_folder.Path("misfit"), other, 1);
        AssertUnchanged(() =>
            Assert.Throws<InfluenceException>(() =>
                new TracIn { Checkpoints = [Checkpoints[1], misfit] }.SelfInfluence(_c.Task(), _c.Train)
            )
        );
    }

    /// <summary>A hook that stayed would keep its layer's record alive for as long as the model.</summary>
    [Fact]
    public void NoHookIsLeft()
    {
        var (layers, audited) = OpenAndClose();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();

        Assert.Equal(2, audited);
        Assert.DoesNotContain(layers, layer => layer.IsAlive);
        GC.KeepAlive(_c);

        [MethodImpl(MethodImplOptions.NoInlining)]
        (List<WeakReference> Layers, int Audited) OpenAndClose()
        {
            using var scope = NewDisposeScope();
            using var session = GradientSession.Open(_c.Task(), _c.Train, _c.Queries);
            foreach (var batch in _c.Train.Batches())
            {
                using var captured = session.Capture(batch, LossKind.Training);
            }

            List<TrackedLayer> layers = [.. session.Blocks.SelectMany(block => block.Uses).Select(use => use.Layer).Distinct()];
            return ([.. layers.Select(layer => new WeakReference(layer))], layers.Count);
        }
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
        var queries = _c.Queries with { BatchSize = 3, Ids = [100, 101, 102, 103] };
        var task = new InfluenceTask(_c.Model)
        {
            TrainingLoss = call == "single examples" ? b => loss(b) + _c.Head.weight.Squared().sum() : loss,
            Layers = call == "last" ? LayerSelection.Last : LayerSelection.All,
        };
        switch (call)
        {
            case "coverage":
                _ = task.Coverage(train);
                break;
            case "self":
                _ = new TracIn().SelfInfluence(task, train, progress, token);
                break;
            case "small budget self":
                _ = new TracIn { MemoryBudget = 1 }.SelfInfluence(task, train, progress, token);
                break;
            case "checkpoints self":
                _ = new TracIn { Checkpoints = Checkpoints }.SelfInfluence(task, train, progress, token);
                break;
            default:
                new TracIn
                {
                    MemoryBudget = call == "small budget" ? 1 : 1L << 30,
                    Checkpoints = call == "checkpoints" ? Checkpoints : null,
                    Similarity = call == "cosine" ? TracIn.GradientSimilarity.Cosine : TracIn.GradientSimilarity.Dot,
                }
                    .Score(task, train, queries, progress, token)
                    .Dispose();
                break;
        }
    }
}
