using Influence.Formats;
using Influence.Recipes;
using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Scores of a run leave the model as they found it and no tensor behind, also when they are stopped half-way.</summary>
public sealed class RunScoreStateTests : IDisposable
{
    private readonly Classifier _c = new();
    private readonly TempFolder _folder = new();
    private readonly List<Checkpoint> _checkpoints = [];

    public RunScoreStateTests()
    {
        // A state that nothing sets by chance: a frozen parameter, a grad of the caller's, a module in training mode, other weights.
        _c.Hidden.bias!.requires_grad = false;
        using var scope = NewDisposeScope();
        _c.PlainLoss([_c.X, _c.Y]).sum().backward();
        _c.Model.train();
        _c.Head.eval();
        using var noGrad = no_grad();
        for (var step = 0; step < 3; step++)
        {
            _c.Head.weight.mul_(0.8);
            _checkpoints.Add(Checkpoint.Save(_folder.Path($"{step}"), _c.Model, 0.1, step));
        }

        _c.Head.weight.mul_(0.8);
    }

    public static TheoryData<string> Calls =>
        [
            "norms",
            "norms of checkpoints",
            "variance",
            "variance in chunks",
            "donod",
            "donod by ones",
            "quality",
            "quality undivided",
            "spectra",
            "spectra by ones",
        ];

    public static TheoryData<string> Losses =>
        ["norms", "norms of checkpoints", "donod", "donod by ones", "quality", "quality undivided", "spectra", "spectra by ones"];

    public static TheoryData<string> OverCheckpoints =>
        ["norms of checkpoints", "variance", "variance in chunks", "quality", "quality undivided"];

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterACall(string call) => AssertUnchanged(() => Run(call));

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterCancellation(string call) =>
        AssertUnchanged(() =>
        {
            using var source = new CancellationTokenSource();
            var reports = new Reports(_ => source.Cancel());
            Assert.ThrowsAny<OperationCanceledException>(() => Run(call, progress: reports, token: source.Token));
            Assert.Single(reports.All);
        });

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterAnExceptionInProgress(string call) =>
        AssertUnchanged(() =>
            Assert.Throws<InvalidTimeZoneException>(() => Run(call, progress: new Reports(_ => throw new InvalidTimeZoneException())))
        );

    [Theory]
    [MemberData(nameof(Calls))]
    public void AfterAnExceptionInADelegate(string call) =>
        AssertUnchanged(() =>
        {
            var thrown = Assert.Throws<InfluenceException>(() => Run(call, fail: 9));
            Assert.Contains("no more", thrown.Message, StringComparison.Ordinal);
        });

    [Theory]
    [MemberData(nameof(OverCheckpoints))]
    public void AfterACheckpointOfAnotherModel(string call) =>
        AssertUnchanged(() =>
        {
            using var other = nn.Linear(2, 2, dtype: float64);
            var misfit = Checkpoint.Save(_folder.Path("misfit"), other, 1, 7);
            var thrown = Assert.Throws<InfluenceException>(() => Run(call, checkpoints: [.. _checkpoints, misfit]));
            Assert.Contains("does not fit the model", thrown.Message, StringComparison.Ordinal);
        });

    /// <summary>NaN in a checkpoint, and infinite inputs: the examples are named.</summary>
    [Theory]
    [MemberData(nameof(OverCheckpoints))]
    public void ACheckpointThatHasDiverged(string call)
    {
        using var model = new Classifier();
        using (no_grad())
        {
            model.Head.weight.fill_(double.NaN);
        }

        // Ours are not saved so; another tool's may be.
        var path = _folder.Path("diverged") + ".safetensors";
        var metadata = new Dictionary<string, string> { [Checkpoint.LearningRateKey] = "0.1", [Checkpoint.StepKey] = "3" };
        Safetensors.Save(path, [.. model.Model.state_dict().Select(pair => (pair.Key, pair.Value))], metadata);
        var diverged = Checkpoint.FromFile(path);
        var thrown = Assert.Throws<InfluenceException>(() => Run(call, checkpoints: [.. _checkpoints, diverged]));
        Assert.Contains("NaN", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("head.weight", thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AnExampleThatIsNaN(string call)
    {
        _c.X[8, 1] = double.NaN;
        var thrown = Assert.Throws<InfluenceException>(() => Run(call));
        Assert.Contains("NaN", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([8], thrown.ExampleIds);
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void NoExamplesAndIdsThatRepeat(string call)
    {
        var none = Examples.FromTensors(("x", zeros(0, 4, dtype: float64)), ("y", zeros([0], ScalarType.Int64)));
        Assert.Contains("empty", Assert.Throws<InfluenceException>(() => Run(call, examples: none)).Message, StringComparison.Ordinal);
        var repeated = _c.Train with { Ids = [0, 1, 2, 7, 4, 5, 6, 7, 8, 9, 10] };
        Assert.Contains(
            "repeat: 7",
            Assert.Throws<InfluenceException>(() => Run(call, examples: repeated)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>Results do not hang on how examples are put into batches; they come back by id, in the examples' order.</summary>
    [Theory]
    [MemberData(nameof(Calls))]
    public void BatchesOfAnySize(string call)
    {
        var expected = Run(call, examples: _c.Train with { BatchSize = 11, Ids = [.. Enumerable.Range(20, 11).Select(i => (long)i)] });
        foreach (var size in new[] { 1, 4 })
        {
            var scores = Run(call, examples: _c.Train with { BatchSize = size, Ids = [.. Enumerable.Range(20, 11).Select(i => (long)i)] });
            foreach (var (one, other) in expected.Zip(scores))
            {
                Assert.Equal(Enumerable.Range(20, 11).Select(i => (long)i), other.Ids);
                Assert.All(one.Values.Zip(other.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-11)); // rounding of float64
            }
        }
    }

    [Fact]
    public void EmptyListsOfCheckpointsAndBudgetsThatAreNone()
    {
        Assert.Contains(
            "At least 1 checkpoint is needed",
            Assert.Throws<InfluenceException>(() => new GraNd { Checkpoints = [] }).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "holds a null",
            Assert.Throws<InfluenceException>(() => new GraNd { Checkpoints = [null!] }).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new GraNd { MemoryBudget = 0 });
        Assert.Throws<InfluenceException>(() => new Donod { LearningRate = 1, MemoryBudget = -1 });
        Assert.Throws<InfluenceException>(() => new GradientSpectra { MemoryBudget = 0 });
        Assert.Throws<InfluenceException>(() =>
            new VarianceOfGradients
            {
                Checkpoints = _checkpoints,
                Logits = _ => null!,
                Labels = _ => null!,
                MemoryBudget = 0,
            }
        );
        Assert.Throws<InfluenceException>(() => new LearnabilityQuality { Checkpoints = _checkpoints, MemoryBudget = 0 });
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

    private IReadOnlyList<ExampleScores> Run(
        string call,
        long? fail = null,
        IReadOnlyList<Checkpoint>? checkpoints = null,
        Examples? examples = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken token = default
    )
    {
        var run = checkpoints ?? _checkpoints;
        var train = examples ?? _c.Train with { BatchSize = 3 };
        var targets = _c.Queries with { BatchSize = 3, Ids = [100, 101, 102, 103] };
        var task = new InfluenceTask(_c.Model) { TrainingLoss = Failing(_c.Loss) };
        var budget =
            call.EndsWith("by ones", StringComparison.Ordinal) ? 1
            : call.EndsWith("in chunks", StringComparison.Ordinal) ? 2 * 8 * 4 * 4
            : 1L << 30;
        switch (call)
        {
            case "norms":
                return [new GraNd().Score(task, train, progress, token)];
            case "norms of checkpoints":
                return [new GraNd { Checkpoints = run }.Score(task, train, progress, token)];
            case "donod" or "donod by ones":
                var (don, nod) = new Donod
                {
                    LearningRate = 0.1,
                    Layers = LayerSelection.All,
                    MemoryBudget = budget,
                }.Score(task, train, progress, token);
                return [don, nod];
            case "quality" or "quality undivided":
                return
                [
                    new LearnabilityQuality { Checkpoints = run, DivideByNorm = call == "quality" }.Score(
                        task,
                        train,
                        targets,
                        progress,
                        token
                    ),
                ];
            case "spectra" or "spectra by ones":
                var spectra = new GradientSpectra { MemoryBudget = budget }.Score(task, train, progress, token);
                return [spectra.MeanNuclearNorm(), spectra.MeanEffectiveRank()];
            default:
                return
                [
                    new VarianceOfGradients
                    {
                        Checkpoints = run,
                        Logits = Failing(b => _c.Model.call(b["x"])),
                        Labels = b => b["y"],
                        WithinClass = false,
                        MemoryBudget = budget,
                    }.Score(task, train, progress, token),
                ];
        }

        Func<ExampleBatch, Tensor> Failing(Func<ExampleBatch, Tensor> function) =>
            batch => fail is { } id && batch.Ids.Contains(id) ? throw new InvalidOperationException("no more") : function(batch);
    }
}
