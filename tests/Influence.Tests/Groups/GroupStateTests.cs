using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>A call leaves the model as it found it, a gradient of the caller's included, and no tensor behind, also when it is stopped
/// half-way.</summary>
public sealed class GroupStateTests : IDisposable
{
    private readonly Classifier _c = new(train: 14);
    private readonly TempFolder _folder = new();
    private readonly Checkpoint _checkpoint;
    private readonly Kfac _kfac;

    public GroupStateTests()
    {
        _c.Hidden.bias!.requires_grad = false;
        using var scope = NewDisposeScope();
        using (no_grad())
        {
            _c.Head.weight.mul_(4);
            _checkpoint = Checkpoint.Save(_folder.Path("early"), _c.Model, 0.5);
            _c.Head.weight.mul_(0.25);
        }

        _kfac = Kfac.Fit(_c.Task(), _c.Train, new() { Fisher = Fisher.Empirical });
        _c.PlainLoss([_c.X, _c.Y]).sum().backward();
        _c.Model.train();
        _c.Head.eval();
    }

    public static TheoryData<string> Calls => ["influence", "checkpoints", "small budget", "loader", "tokens"];

    public void Dispose()
    {
        _kfac.Dispose();
        _c.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterACall(string call) => AssertUnchanged(() => Run(call, _c.Loss));

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterAnExceptionInTheLoss(string call) =>
        AssertUnchanged(() =>
        {
            var thrown = Assert.Throws<InfluenceException>(() =>
                Run(call, batch => batch.Ids.Contains(9) ? throw new InvalidOperationException("no more") : _c.Loss(batch))
            );
            Assert.IsType<InvalidOperationException>(thrown.InnerException);
        });

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterCancellation(string call) =>
        AssertUnchanged(() =>
        {
            using var source = new CancellationTokenSource();
            var reports = new Reports(_ => source.Cancel());
            Assert.ThrowsAny<OperationCanceledException>(() => Run(call, _c.Loss, reports, source.Token));
            Assert.Single(reports.All);
        });

    [Fact]
    public void ProgressCountsGradients()
    {
        var reports = new Reports();
        Run("checkpoints", _c.Loss, reports);
        Assert.Equal(2 * 14, reports.All[^1].Total);
        Assert.Equal(2 * 14, reports.All[^1].Done);
    }

    private void AssertUnchanged(Action call)
    {
        var state = ModelState.Of(_c.Model, _c.QueryX);

        // Once to let TorchSharp make what it keeps.
        call();
        var before = LiveTensors.OnThisThread;
        using (var scope = NewDisposeScope())
        {
            call();
            Assert.Equal(0, scope.DisposablesCount);
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
        state.AssertUnchanged(_c.Model, _c.QueryX);
    }

    private void Run(
        string call,
        Func<ExampleBatch, Tensor> loss,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken token = default
    )
    {
        var queries = _c.Queries with { Ids = [100, 101, 102, 103] };
        var groups = ExampleGroups.Of(_c.Train.Ids, id => id % 2 == 0 ? "even" : "odd");
        if (call == "loader")
        {
            using var loader = utils.data.DataLoader(new DictionaryDataset(("x", _c.X), ("y", _c.Y)), 4);
            new GroupInfluence(new TracIn()) { Blocks = 2 }.Score(
                new InfluenceTask(_c.Model) { TrainingLoss = loss },
                loader,
                groups,
                queries,
                null,
                progress,
                token
            );
            return;
        }

        var influence = call is "influence" or "tokens"
            ? new GroupInfluence(new InfluenceFunction(_kfac)) { Tokens = call == "tokens" ? b => b["x"].abs().sum(1) : null }
            : new GroupInfluence(
                new TracIn
                {
                    Checkpoints = call == "checkpoints" ? [_checkpoint, _checkpoint] : null,
                    MemoryBudget = call == "small budget" ? 1 : 1L << 30,
                }
            );
        influence.Score(
            new InfluenceTask(_c.Model) { TrainingLoss = loss },
            _c.Train with
            {
                BatchSize = 3,
            },
            groups,
            queries,
            null,
            progress,
            token
        );
    }
}
