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
    public void PositionsSumToTheScore() =>
        WithDecoder(
            (model, train, queries, fit) =>
            {
                using var whole = new InfluenceFunction(fit) { Tolerance = 0 }.Score(model.Task(), train, queries);
                using var positions = new InfluenceFunction(fit).ScorePositions(
                    model.Task(),
                    train with
                    {
                        BatchSize = 2,
                    },
                    queries with
                    {
                        BatchSize = 2,
                    }
                );

                Assert.Equal([queries.Count, train.Count, TinyDecoder.Length], positions.Values.shape);
                Assert.True(SingleExampleLoop.RelativeError(positions.Values.sum(2), whole.Values) < Rounding);
            }
        );

    [Fact]
    public void LossTokensSumToTheScoreAndAreDerivativesOfTheTokensLosses() =>
        WithDecoder(
            (model, train, queries, fit) =>
            {
                using var whole = new InfluenceFunction(fit) { Tolerance = 0 }.Score(model.Task(), train, queries);
                using var tokens = new InfluenceFunction(fit).ScoreLossTokens(model.Task(), train, queries, TokenLosses(model));

                Assert.True(SingleExampleLoop.RelativeError(tokens.Values.sum(2), whole.Values) < Rounding);
                Assert.Equal(0, tokens.Values[.., .., ..2].abs().max().item<double>());

                // Spans that part the positions add up to the whole; one alone is its positions' sum.
                var spans = tokens.SumSpans(1, 2, ..3, 3..5, 5..);
                Assert.Equal(whole.Values[1, 2].item<double>(), spans.Sum(), Rounding * Math.Abs(spans[0]) + Rounding);
                Assert.Equal(tokens.For(1, 2)[3] + tokens.For(1, 2)[4], spans[1], 1e-12);
                Assert.Throws<InfluenceException>(() => tokens.SumSpans(0, 0, ..(TinyDecoder.Length + 1)));

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
            }
        );

    /// <summary>In the last layer an output's gradient at t comes from the loss at t alone.</summary>
    [Fact]
    public void InTheLastLayerBothAreTheSame() =>
        WithDecoder(
            (model, train, queries, _) =>
            {
                var task = model.Task(LayerSelection.Where(n => n.StartsWith("head", StringComparison.Ordinal)));
                using var fit = Ekfac.Fit(task, train);
                using var positions = new InfluenceFunction(fit).ScorePositions(task, train, queries);
                using var tokens = new InfluenceFunction(fit).ScoreLossTokens(task, train, queries, TokenLosses(model));
                Assert.True(SingleExampleLoop.RelativeError(positions.Values, tokens.Values) < Rounding);
            }
        );

    [Fact]
    public void HeadsSumToTheirLayer() =>
        WithDecoder(
            (model, train, queries, fit) =>
            {
                using var layers = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(model.Task(), train, queries);
                using var heads = new InfluenceFunction(fit).ScoreHeads(model.Task(), train, queries, TinyDecoder.Heads);

                Assert.Equal(3, heads.Count);
                var expected =
                    layers["q.weight"].Values + layers["k.weight"].Values + layers["v.weight"].Values + layers["o.weight"].Values;
                Assert.True(
                    SingleExampleLoop.RelativeError(heads[0].Scores.Values + heads[1].Scores.Values + heads[2].Scores.Values, expected)
                        < Rounding
                );
                Assert.All(heads, head => Assert.True(head.Scores.Values.abs().max().item<double>() > 0));
            }
        );

    /// <summary>A head whose rows and columns are all there is to the layer has the layer's scores.</summary>
    [Fact]
    public void OneHeadIsTheLayer() =>
        WithDecoder(
            (model, train, queries, fit) =>
            {
                using var layers = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(model.Task(), train, queries);
                using var heads = new InfluenceFunction(fit).ScoreHeads(
                    model.Task(),
                    train,
                    queries,
                    new("q.weight", "q.weight", "q.weight", "o.weight", 1)
                );
                var expected = (3 * layers["q.weight"].Values) + layers["o.weight"].Values;
                Assert.True(SingleExampleLoop.RelativeError(heads[0].Scores.Values + heads[1].Scores.Values, expected) < Rounding);
            }
        );

    [Fact]
    public void WhatCannotBeSplitIsSaid() =>
        WithDecoder(
            (model, train, queries, fit) =>
            {
                var influence = new InfluenceFunction(fit);
                Assert.Contains(
                    "divide into 3 heads",
                    Fails(() => influence.ScoreHeads(model.Task(), train, queries, new("q.weight", "k.weight", "v.weight", "o.weight", 3)))
                );
                Assert.Contains(
                    "nothing.weight",
                    Fails(() =>
                        influence.ScoreHeads(model.Task(), train, queries, new("nothing.weight", "k.weight", "v.weight", "o.weight", 2))
                    )
                );
                Assert.Contains(
                    "sum to the training loss",
                    Fails(() => influence.ScoreLossTokens(model.Task(), train, queries, b => TokenLosses(model)(b) / 2))
                );
                Assert.Contains("[B, T]", Fails(() => influence.ScoreLossTokens(model.Task(), train, queries, model.Task().TrainingLoss)));
                Assert.Contains(
                    "MemoryBudget",
                    Fails(() => new InfluenceFunction(fit) { MemoryBudget = 1000 }.ScorePositions(model.Task(), train, queries))
                );
                Assert.Contains(
                    "Normalization",
                    Fails(() =>
                        new InfluenceFunction(fit) { Normalization = InfluenceFunction.ScoreNormalization.Loss }.ScorePositions(
                            model.Task(),
                            train,
                            queries
                        )
                    )
                );

                static string Fails(Func<IDisposable> call) => Assert.Throws<InfluenceException>(() => call().Dispose()).Message;
            }
        );

    /// <summary>What plain autograd cannot follow is refused; it would be zero or unmasked without a word.</summary>
    [Fact]
    public void LossTokensThatWouldBeWrongAreRefused() =>
        WithDecoder(
            (model, train, queries, fit) =>
            {
                var influence = new InfluenceFunction(fit);
                var detached = Assert.Throws<InfluenceException>(() =>
                    influence.ScoreLossTokens(model.Task(), train, queries, b => TokenLosses(model)(b).detach())
                );
                Assert.Contains("do not depend", detached.Message, StringComparison.Ordinal);
                var masked = new InfluenceTask(model) { TrainingLoss = model.Task().TrainingLoss, PositionMask = b => b["mask"] };
                var thrown = Assert.Throws<InfluenceException>(() => influence.ScoreLossTokens(masked, train, queries, TokenLosses(model)));
                Assert.Contains("PositionMask", thrown.Message, StringComparison.Ordinal);
            }
        );

    /// <summary>An operator without a second derivative, which TorchSharp's own grad would end the process with.</summary>
    [Fact]
    public void LossTokensOfAModelThatCannotBeDifferentiatedTwiceAreRefused()
    {
        torch.random.manual_seed(5);
        using var scope = NewDisposeScope();
        using var classifier = new Classifier();
        using var centres = nn.Parameter(randn([Classifier.Classes, 6], dtype: float64));
        using var model = new Composite(x => -cdist(classifier.Hidden.call(x), centres, 1), ("hidden", classifier.Hidden)).With(
            "centres",
            centres
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        using var fit = NoCurvature.Fit(task, classifier.Train);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new InfluenceFunction(fit).ScoreLossTokens(
                task,
                classifier.Train,
                classifier.Queries,
                b => Losses.CrossEntropy(model.call(b["x"]), b["y"]).unsqueeze(1)
            )
        );
        Assert.Contains("cannot be differentiated twice", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>The head over a pooled text has no positions: the others' scores, which a fit of all layers serves.</summary>
    [Fact]
    public void APooledHeadIsLeftOutWithANote()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(6);
        var (body, head) = (nn.Linear(3, 4, dtype: float64), nn.Linear(4, 2, dtype: float64));
        var model = new Composite(x => head.call(body.call(x).tanh().mean([1])), ("body", body), ("head", head));
        model.eval();
        var examples = Examples.FromTensors(("x", randn([6, 5, 3], dtype: float64)), ("y", randint(0, 2, [6])));
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        using var fit = Ekfac.Fit(task, examples);
        var function = new InfluenceFunction(fit) { Tolerance = 0 };

        using var positions = function.ScorePositions(task, examples, examples);
        using var layers = function.ScoreLayers(task, examples, examples);

        Assert.Contains("head.weight", positions.Metadata.Notes, StringComparison.Ordinal);
        var bodyScores = layers.Single(l => l.Parameters.Contains("body", StringComparison.Ordinal)).Scores.Values;
        Assert.True(SingleExampleLoop.RelativeError(positions.Values.sum(2), bodyScores) < Rounding);
    }

    /// <summary>Two calls of a layer have twice as many positions, which are not the examples' own.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void PositionsOfALayerThatIsCalledTwiceAreRefused(bool embedding)
    {
        torch.random.manual_seed(5);
        using var scope = NewDisposeScope();
        var model = embedding ? Lookup() : Loop();
        model.eval();
        var examples = Examples.FromTensors(embedding ? randint(0, 5, [4, 3]) : randn([4, 3, 5], dtype: float64));
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).Squared().sum([1, 2]) };
        using var fit = NoCurvature.Fit(task, examples);
        var thrown = Assert.Throws<InfluenceException>(() => new InfluenceFunction(fit).ScorePositions(task, examples, examples));
        Assert.Contains("whose positions are the examples' own", thrown.Message, StringComparison.Ordinal);

        static Composite Loop()
        {
            var layer = nn.Linear(5, 5, dtype: float64);
            return new Composite(x => layer.call(layer.call(x).tanh()), ("layer", layer));
        }

        static Composite Lookup()
        {
            var table = nn.Embedding(5, 4, dtype: float64);
            return new Composite(x => table.call(x) * table.call(x.flip(1)), ("table", table));
        }
    }

    /// <summary>Over one position attention has no choice: queries and keys have no gradient, no curvature and no scores.</summary>
    [Fact]
    public void HeadsOfSequencesOfOnePosition()
    {
        torch.random.manual_seed(5);
        using var model = new TinyDecoder();
        using var scope = NewDisposeScope();
        var (train, queries) = (Single(7), Single(3));
        using var fit = Ekfac.Fit(model.Task(), train);
        using var layers = new InfluenceFunction(fit) { Tolerance = 0 }.ScoreLayers(model.Task(), train, queries);
        using var heads = new InfluenceFunction(fit).ScoreHeads(model.Task(), train, queries, TinyDecoder.Heads);
        var expected = layers["v.weight"].Values + layers["o.weight"].Values;
        Assert.True(
            SingleExampleLoop.RelativeError(heads[0].Scores.Values + heads[1].Scores.Values + heads[2].Scores.Values, expected) < Rounding
        );

        static Examples Single(long count) =>
            Examples.FromTensors(
                ("x", randint(0, TinyDecoder.Vocabulary, [count, 1])),
                ("y", randint(0, TinyDecoder.Vocabulary, [count, 1])),
                ("mask", ones([count, 1], ScalarType.Bool))
            );
    }

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
