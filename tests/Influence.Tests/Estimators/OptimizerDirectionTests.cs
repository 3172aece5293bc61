using Influence.Estimators;
using Influence.Formats;
using Influence.Groups;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>TracIn in the direction of the optimizer that made the checkpoints, against a loop over single examples.</summary>
public sealed class OptimizerDirectionTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();
    private readonly Composite _model;
    private readonly Tensor[] _train;
    private readonly Tensor[] _queries;

    public OptimizerDirectionTests()
    {
        random.manual_seed(11);
        var (hidden, head) = (nn.Linear(3, 5, dtype: float64), nn.Linear(5, 3, dtype: float64));
        _model = new Composite(x => head.call(hidden.call(x).tanh()), ("hidden", hidden), ("head", head));
        _train = [randn([8, 3], dtype: float64), randint(0, 3, [8])];
        _queries = [randn([4, 3], dtype: float64), randint(0, 3, [4])];
    }

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [InlineData("AdamW")]
    [InlineData("Adam, amsgrad")]
    [InlineData("SGD, momentum 0.9")]
    public void ScoresAreThoseOfALoop(string kind)
    {
        using var scope = NewDisposeScope();
        var expected = zeros([4, 8], dtype: float64);
        var expectedSelf = zeros([8], dtype: float64);
        using var recorder = new CheckpointRecorder(_folder.Path("run")) { EverySteps = 3 };
        var optimizer = Of(kind);
        for (var step = 0; step < 6; step++)
        {
            TrainStep(optimizer);
            recorder.Step(_model, optimizer);
            if (recorder.Checkpoints.Count > step / 3)
            {
                var (f, g) = (Gradients(_queries), Gradients(_train));
                var weights = Weights(kind, optimizer);
                expected += (f * weights).mm(g.t());
                expectedSelf += (g * g * weights).sum(1);
            }
        }

        var checkpoints = CheckpointRecorder.Find(_folder.Path("run"));
        Assert.Equal(2, checkpoints.Count);
        Assert.All(checkpoints, c => Assert.Equal(kind, c.Optimizer));
        var tracIn = new TracIn { Checkpoints = checkpoints, Direction = TracIn.UpdateDirection.Optimizer };
        using var scores = tracIn.Score(Task(), Examples(_train), Examples(_queries) with { BatchSize = 3 });
        var self = tracIn.SelfInfluence(Task(), Examples(_train));
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(tensor(self.Values.ToArray()), expectedSelf) < 1e-10);
        Assert.Contains($"made by {kind}", scores.Metadata.Checkpoints, StringComparison.Ordinal);
        Assert.DoesNotContain("plain SGD", scores.Metadata.Notes, StringComparison.Ordinal);

        using var plain = (tracIn with { Direction = TracIn.UpdateDirection.Sgd }).Score(Task(), Examples(_train), Examples(_queries));
        Assert.Equal(
            !kind.StartsWith("SGD", StringComparison.Ordinal),
            plain.Metadata.Notes.Contains("plain SGD's", StringComparison.Ordinal)
        );
        Assert.Throws<InfluenceException>(() =>
            (tracIn with { Similarity = TracIn.GradientSimilarity.Cosine }).Score(Task(), Examples(_train), Examples(_queries))
        );
    }

    [Fact]
    public void MomentsReadBackAreTheOptimizers()
    {
        using var scope = NewDisposeScope();
        var optimizer = Of("AdamW");
        TrainStep(optimizer);
        TrainStep(optimizer);
        var saved = Checkpoint.Save(_folder.Path("adamw"), _model, optimizer, 2);
        using var file = SafetensorsFile.Open(saved.FilePath);
        var states = ((OptimizerHelper)optimizer).state_dict().State.Cast<AdamW.State>().ToList();
        string[] names = ["hidden.weight", "hidden.bias", "head.weight", "head.bias"];
        var read = Checkpoint.FromFile(saved.FilePath);
        foreach (var (name, state) in names.Zip(states))
        {
            Assert.True(file.Read($"influence.exp_avg:{name}").equal(state.exp_avg).all().item<bool>());
            Assert.True(file.Read($"influence.exp_avg_sq:{name}").equal(state.exp_avg_sq).all().item<bool>());
            Assert.Equal(
                new OptimizerRecord.Setting("AdamW", 0, 0, 0.8, 0.95, 1e-6, name[1] == 'i' ? 0.1 : 0.01, true, false, false, 2),
                read.Made.Of(name)
            );
        }

        Assert.Empty(read.LoadInto(_model));
        Assert.Equal(0.05, Checkpoint.FromFile(saved.FilePath, _ => 0.05).LearningRateOf("head.bias"));
    }

    [Fact]
    public void WhatHasNoDirectionIsRefused()
    {
        using var scope = NewDisposeScope();
        var plain = Checkpoint.Save(_folder.Path("plain"), _model, 0.1);
        Assert.Equal(string.Empty, Checkpoint.FromFile(plain.FilePath).Optimizer);
        Assert.Empty(plain.LoadInto(_model));
        var untrained = Checkpoint.Save(_folder.Path("untrained"), _model, Of("AdamW"), 0);
        var rms = Checkpoint.Save(_folder.Path("rms"), _model, optim.RMSProp(_model.parameters()), 0);
        Refused([plain], "holds none");
        Refused([untrained], "step 0");
        Refused([rms], "was made by RMSProp");
        Refused(null, "there are none");
        var groups = ExampleGroups.FromMembers(("all", Enumerable.Range(0, 8).Select(i => (long)i)));
        Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new TracIn { Checkpoints = [rms], Direction = TracIn.UpdateDirection.Optimizer }).Score(
                Task(),
                Examples(_train),
                groups,
                Examples(_queries)
            )
        );

        void Refused(Checkpoint[]? checkpoints, string why) =>
            Assert.Contains(
                why,
                Assert
                    .Throws<InfluenceException>(() =>
                        new TracIn { Checkpoints = checkpoints, Direction = TracIn.UpdateDirection.Optimizer }.Score(
                            Task(),
                            Examples(_train),
                            Examples(_queries)
                        )
                    )
                    .Message,
                StringComparison.Ordinal
            );
    }

    private Parameter[] Named(string prefix) =>
        [.. _model.named_parameters().Where(p => p.name.StartsWith(prefix, StringComparison.Ordinal)).Select(p => p.parameter)];

    private optim.Optimizer Of(string kind) =>
        kind switch
        {
            "AdamW" => optim.AdamW([
                new AdamW.ParamGroup(
                    Named("hidden"),
                    new AdamW.Options
                    {
                        LearningRate = 0.02,
                        InitialLearningRate = 0.02,
                        beta1 = 0.8,
                        beta2 = 0.95,
                        eps = 1e-6,
                        weight_decay = 0.1,
                        amsgrad = false,
                        maximize = false,
                    }
                ),
                new AdamW.ParamGroup(
                    Named("head"),
                    new AdamW.Options
                    {
                        LearningRate = 0.005,
                        InitialLearningRate = 0.005,
                        beta1 = 0.8,
                        beta2 = 0.95,
                        eps = 1e-6,
                        weight_decay = 0.01,
                        amsgrad = false,
                        maximize = false,
                    }
                ),
            ]),
            "Adam, amsgrad" => optim.Adam(_model.parameters(), 0.02, 0.8, 0.95, 1e-6, amsgrad: true),
            _ => optim.SGD(_model.parameters(), 0.02, momentum: 0.9),
        };

    private Tensor Weights(string kind, optim.Optimizer optimizer)
    {
        if (kind.StartsWith("SGD", StringComparison.Ordinal))
        {
            return tensor(0.02 / (1 - 0.9), dtype: float64);
        }

        var parts = ((OptimizerHelper)optimizer)
            .state_dict()
            .State.Select(
                (state, i) =>
                {
                    var (step, v) = state is Adam.State a
                        ? (a.step, a.max_exp_avg_sq)
                        : (((AdamW.State)state).step, ((AdamW.State)state).exp_avg_sq);
                    var rate = kind == "AdamW" && i >= 2 ? 0.005 : 0.02;
                    return (rate / ((v / (1 - Math.Pow(0.95, step))).sqrt() + 1e-6)).reshape(-1);
                }
            );
        return cat([.. parts]);
    }

    private void TrainStep(optim.Optimizer optimizer)
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        nn.functional.cross_entropy(_model.call(_train[0]), _train[1]).backward();
        optimizer.step();
    }

    private Tensor Gradients(Tensor[] examples)
    {
        var rows = new List<Tensor>();
        for (var i = 0; i < examples[0].shape[0]; i++)
        {
            foreach (var parameter in _model.parameters())
            {
                parameter.grad?.zero_();
            }

            nn.functional.cross_entropy(_model.call(examples[0].narrow(0, i, 1)), examples[1].narrow(0, i, 1)).backward();
            rows.Add(cat([.. _model.parameters().Select(p => p.grad!.reshape(-1))]).clone());
        }

        return stack([.. rows]);
    }

    private InfluenceTask Task() =>
        new(_model) { TrainingLoss = b => nn.functional.cross_entropy(_model.call(b["x"]), b["y"], reduction: nn.Reduction.None) };

    private static Examples Examples(Tensor[] data) => Influence.Examples.FromTensors(("x", data[0]), ("y", data[1]));
}
