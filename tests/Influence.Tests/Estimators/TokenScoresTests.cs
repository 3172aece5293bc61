using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Scores per position, per loss token, per head and per layer: each has a definition, and all sum to the score.</summary>
public class TokenScoresTests
{
    // float64; what is left is the order of sums.
    private const double Rounding = 1e-9;

    [Fact]
    public void PositionsSumToTheScore() => WithDecoder((model, train, queries, fit) =>
    {
        using var whole = new InfluenceFunction(fit) { Tolerance = 0 }.Score(model.Task(), train, queries);
        using var positions = new InfluenceFunction(fit).ScorePositions(model.Task(), train with { BatchSize = 2 }, queries with { BatchSize = 2 });

        Assert.Equal([queries.Count, train.Count, TinyDecoder.Length], positions.Values.shape);
        Assert.True(SingleExampleLoop.RelativeError(positions.Values.sum(2), whole.Values) < Rounding);
    });

    [Fact]
    public void LossTokensSumToTheScoreAndAreDerivativesOfTheTokensLosses() => WithDecoder((model, train, queries, fit) =>
    {
        using var whole = new InfluenceFunction(fit) { Tolerance = 0 }.Score(model.Task(), train, queries);
        using var tokens = new InfluenceFunction(fit).ScoreLossTokens(model.Task(), train, queries, TokenLosses(model));

        Assert.True(SingleExampleLoop.RelativeError(tokens.Values.sum(2), whole.Values) < Rounding);
        Assert.Equal(0, tokens.Values[.., .., ..2].abs().max().item<double>());

        // A training loss of one token only: its score is that token's share.
        for (var t = 2; t < TinyDecoder.Length; t++)
        {
            var token = t;
            var only = new InfluenceTask(model)
            {
                TrainingLoss = b => TokenLosses(model)(b).select(1, token),
                Measurement = model.Task().TrainingLoss,
            };
            using var expected = new InfluenceFunction(fit) { Tolerance = 0 }.Score(only, train, queries);
            Assert.True(SingleExampleLoop.RelativeError(tokens.Values[.., .., t], expected.Values) < Rounding);
        }
    });

    /// <summary>In the last layer an output's gradient at t comes from the loss at t alone.</summary>
    [Fact]
    public void InTheLastLayerBothAreTheSame() => WithDecoder((model, train, queries, _) =>
    {
        var task = model.Task(LayerSelection.Where(n => n.StartsWith("head", StringComparison.Ordinal)));
        using var fit = Ekfac.Fit(task, train);
        using var positions = new InfluenceFunction(fit).ScorePositions(task, train, queries);
        using var tokens = new InfluenceFunction(fit).ScoreLossTokens(task, train, queries, TokenLosses(model));
        Assert.True(SingleExampleLoop.RelativeError(positions.Values, tokens.Values) < Rounding);
    });

    [Fact]
    public void HeadsSumToTheirLayer() => WithDecoder((model, train, queries, fit) =>
    {
        using var layers = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(model.Task(), train, queries);
        using var heads = new InfluenceFunction(fit).ScoreHeads(model.Task(), train, queries, TinyDecoder.Heads);

        Assert.Equal(3, heads.Count);
        var expected = layers["q.weight"].Values + layers["k.weight"].Values + layers["v.weight"].Values + layers["o.weight"].Values;
        Assert.True(SingleExampleLoop.RelativeError(heads[0].Scores.Values + heads[1].Scores.Values + heads[2].Scores.Values, expected) < Rounding);
        Assert.All(heads, head => Assert.True(head.Scores.Values.abs().max().item<double>() > 0));
    });

    /// <summary>A head whose rows and columns are all there is to the layer has the layer's scores.</summary>
    [Fact]
    public void OneHeadIsTheLayer() => WithDecoder((model, train, queries, fit) =>
    {
        using var layers = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(model.Task(), train, queries);
        using var heads = new InfluenceFunction(fit).ScoreHeads(model.Task(), train, queries, new("q.weight", "q.weight", "q.weight", "o.weight", 1));
        var expected = (3 * layers["q.weight"].Values) + layers["o.weight"].Values;
        Assert.True(SingleExampleLoop.RelativeError(heads[0].Scores.Values + heads[1].Scores.Values, expected) < Rounding);
    });

    [Fact]
    public void WhatCannotBeSplitIsSaid() => WithDecoder((model, train, queries, fit) =>
    {
        var influence = new InfluenceFunction(fit);
        Assert.Contains("divide into 3 heads", Fails(() => influence.ScoreHeads(model.Task(), train, queries, new("q.weight", "k.weight", "v.weight", "o.weight", 3))));
        Assert.Contains("nothing.weight", Fails(() => influence.ScoreHeads(model.Task(), train, queries, new("nothing.weight", "k.weight", "v.weight", "o.weight", 2))));
        Assert.Contains("sum to the training loss", Fails(() => influence.ScoreLossTokens(model.Task(), train, queries, b => TokenLosses(model)(b) / 2)));
        Assert.Contains("[B, T]", Fails(() => influence.ScoreLossTokens(model.Task(), train, queries, model.Task().TrainingLoss)));
        Assert.Contains("MemoryBudget", Fails(() => new InfluenceFunction(fit) { MemoryBudget = 1000 }.ScorePositions(model.Task(), train, queries)));
        Assert.Contains("Normalization", Fails(() => new InfluenceFunction(fit) { Normalization = InfluenceNormalization.Loss }.ScorePositions(model.Task(), train, queries)));

        static string Fails(Func<IDisposable> call) => Assert.Throws<InfluenceException>(() => call().Dispose()).Message;
    });

    private static Func<ExampleBatch, Tensor> TokenLosses(TinyDecoder model) =>
        b => Losses.TokenCrossEntropy(model.call(b["x"]), b["y"], b["mask"]);

    private static void WithDecoder(Action<TinyDecoder, Examples, Examples, Ekfac> test)
    {
        torch.random.manual_seed(5);
        using var model = new TinyDecoder();
        using var scope = NewDisposeScope();
        var (train, queries) = (TinyDecoder.Sequences(7), TinyDecoder.Sequences(3));
        using var fit = Ekfac.Fit(model.Task(), train);
        test(model, train, queries, fit);
    }
}
