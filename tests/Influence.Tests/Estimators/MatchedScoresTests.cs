using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Matched products against a loop over single examples, and against the diagonal of all pairs' scores.</summary>
public sealed class MatchedScoresTests : IDisposable
{
    /// <summary>Rounding in float64, over sums of some thousand terms.</summary>
    private const double Rounding = 1e-9;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>Every kind of layer, with batches of both sides that do not fall together, and a budget that cuts them.</summary>
    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void AreTheLoopsProducts(string name)
    {
        var made = Cases.Make(name);
        var (train, queries) = (made.Inputs(7), made.Inputs(7));
        var expected = (
            SingleExampleLoop.Gradients(made.Model, made.Loss, train) * SingleExampleLoop.Gradients(made.Model, made.Loss, queries)
        ).sum(1);
        foreach (var budget in new[] { MemoryBudget.Default, (MemoryBudget)10_000L })
        {
            var scores = new TracIn { MemoryBudget = budget }.ScoreMatched(
                made.Task(),
                Examples.FromTensors(train) with
                {
                    BatchSize = 3,
                },
                Examples.FromTensors(queries) with
                {
                    BatchSize = 2,
                }
            );
            Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), expected) < Rounding, $"{budget}");
        }
    }

    /// <summary>A query pair against a training pair is the same call: an example is a pair then, and the model runs twice.</summary>
    [Fact]
    public void OfPreferencePairsAreTheLoopsProducts()
    {
        random.manual_seed(4);
        var body = nn.Sequential(nn.Linear(5, 6, dtype: float64), nn.Tanh(), nn.Linear(6, 3, dtype: float64));
        body.eval();
        var (train, queries) = (Pairs(), Pairs());
        var task = new InfluenceTask(body) { TrainingLoss = b => Loss([.. Enumerable.Range(0, 4).Select(i => b[i])]) };
        var (g, f) = (SingleExampleLoop.Gradients(body, Loss, train), SingleExampleLoop.Gradients(body, Loss, queries));

        var matched = new TracIn().ScoreMatched(task, Examples.FromTensors(train), Examples.FromTensors(queries));
        using var all = new TracIn().Score(task, Examples.FromTensors(train), Examples.FromTensors(queries));

        Assert.True(SingleExampleLoop.RelativeError(tensor(matched.Values.ToArray()), (g * f).sum(1)) < Rounding);
        Assert.True(SingleExampleLoop.RelativeError(all.Values, f.mm(g.t())) < Rounding);

        static Tensor[] Pairs() => [randn([9, 5], float64), randn([9, 5], float64), randint(0, 3, [9]), randint(0, 3, [9])];

        Tensor Loss(Tensor[] t)
        {
            var (chosen, rejected) = (LogLikelihood(t[0], t[2]), LogLikelihood(t[1], t[3]));
            return Losses.Preference(chosen, rejected, zeros_like(chosen), zeros_like(chosen), beta: 0.5);
        }

        Tensor LogLikelihood(Tensor answer, Tensor label) => body.call(answer).log_softmax(-1).gather(-1, label.unsqueeze(-1)).squeeze(-1);
    }

    /// <summary>Where chosen and rejected answers are the same, each product is the squared norm, and its cosine 1.</summary>
    [Fact]
    public void OfAnExampleWithItselfAreItsSelfInfluence()
    {
        using var data = new Classifier();
        var self = new TracIn().SelfInfluence(data.Task(), data.Train);
        var matched = new TracIn().ScoreMatched(data.Task(), data.Train, data.Train with { BatchSize = 4 });
        Assert.Equal(self.Ids, matched.Ids);
        Assert.All(self.Values.Zip(matched.Values), pair => Assert.Equal(pair.First, pair.Second, Rounding * pair.First));
        var cosines = new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.ScoreMatched(data.Task(), data.Train, data.Train);
        Assert.All(cosines.Values, cosine => Assert.Equal(1, cosine, Rounding));
    }

    [Theory]
    [InlineData(InfluenceFunction.ScoreNormalization.None)]
    [InlineData(InfluenceFunction.ScoreNormalization.Theta)]
    [InlineData(InfluenceFunction.ScoreNormalization.Loss)]
    public void OfInfluenceFunctionsAreTheDiagonal(InfluenceFunction.ScoreNormalization normalization)
    {
        random.manual_seed(2);
        using var model = new TinyDecoder();
        var (train, queries) = (TinyDecoder.Sequences(9), TinyDecoder.Sequences(9));
        using var ekfac = Ekfac.Fit(model.Task(), train);
        var influence = new InfluenceFunction(ekfac) { Normalization = normalization, Tolerance = 0 };
        using var all = influence.Score(model.Task(), train, queries);
        var matched = influence.ScoreMatched(model.Task(), train with { BatchSize = 4 }, queries with { BatchSize = 5 });
        Assert.True(SingleExampleLoop.RelativeError(tensor(matched.Values.ToArray()), all.Values.diagonal()) < Rounding);
        Assert.Contains("matched pairs", matched.Metadata.Estimator, StringComparison.Ordinal);
    }

    /// <summary>Checkpoints with rates that differ by parameter, in SGD's direction and in Adam's.</summary>
    [Theory]
    [InlineData(TracIn.UpdateDirection.Sgd)]
    [InlineData(TracIn.UpdateDirection.Optimizer)]
    public void OfCheckpointsAreTheDiagonal(TracIn.UpdateDirection direction)
    {
        using var data = new Classifier(train: 6, queries: 6);
        using var adam = optim.AdamW([
            new TorchSharp.Modules.AdamW.ParamGroup(data.Hidden.parameters(), new() { LearningRate = 0.01 }),
            new TorchSharp.Modules.AdamW.ParamGroup(data.Head.parameters(), new() { LearningRate = 0.05 }),
        ]);
        using var recorder = new CheckpointRecorder(_folder.Path("run")) { EverySteps = 2 };
        for (var step = 0; step < 4; step++)
        {
            adam.zero_grad();
            data.PlainLoss([data.X, data.Y]).sum().backward();
            adam.step();
            recorder.Step(data.Model, adam);
        }

        data.Model.zero_grad();
        var tracIn = new TracIn { Checkpoints = recorder.Checkpoints, Direction = direction };
        using var all = tracIn.Score(data.Task(), data.Train, data.Queries);
        var matched = tracIn.ScoreMatched(data.Task(), data.Train, data.Queries);
        Assert.True(SingleExampleLoop.RelativeError(tensor(matched.Values.ToArray()), all.Values.diagonal()) < Rounding);
    }

    [Fact]
    public void WhatIsNoPairIsRefused()
    {
        using var data = new Classifier();
        Fails("as many", () => new TracIn().ScoreMatched(data.Task(), data.Train, data.Queries));
        Fails(
            "Aggregation",
            () => new TracIn { Aggregation = InfluenceFunction.QueryAggregation.Mean }.ScoreMatched(data.Task(), data.Train, data.Train)
        );
        using var ekfac = Ekfac.Fit(data.Task(), data.Train);
        Fails(
            "leverages",
            () =>
                new InfluenceFunction(ekfac) { Normalization = InfluenceFunction.ScoreNormalization.Leverage }.ScoreMatched(
                    data.Task(),
                    data.Train,
                    data.Train
                )
        );

        static void Fails(string part, Action act) =>
            Assert.Contains(part, Assert.Throws<InfluenceException>(act).Message, StringComparison.Ordinal);
    }
}
