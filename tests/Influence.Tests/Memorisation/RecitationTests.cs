using Influence.Memorisation;
using Influence.Tests.Evaluation;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Memorisation;

public class RecitationTests
{
    private static readonly Recitation s_recitation = new()
    {
        PrefixLength = 3,
        SuffixLength = 4,
        BatchSize = 2,
        Bootstrap = EvaluationCases.Quick,
    };

    /// <summary>A model that counts on recites texts that count, and the part of others that does.</summary>
    [Fact]
    public void AModelThatCopiesScoresOne()
    {
        using var scope = NewDisposeScope();
        var texts = tensor(
            new long[,]
            {
                { 1, 2, 3, 4, 5, 6, 7, 99 },
                { 5, 6, 7, 8, 9, 9, 9, 0 },
                { 3, 1, 4, 1, 5, 9, 2, 6 },
            }
        );
        var result = s_recitation.Test(Count, texts, [10, 11, 12]);
        Assert.Equal([1, 0.5, 0], result.Shares);
        Assert.Equal([true, false, false], result.Recited);
        Assert.Equal(1 / 3.0, result.Rate.Value, 1e-12);
        Assert.Contains("4 tokens after 3", result.ToString(), StringComparison.Ordinal);

        // Of the second text 8, 9, 10, 11 against 8, 9, 9, 9; of the third 5, 6, 7, 8 against 1, 5, 9, 2.
        static Tensor Count(Tensor tokens) => nn.functional.one_hot((tokens + 1) % 100, 100).to_type(ScalarType.Float32);
    }

    /// <summary>All logits are equal: the lowest token, 0, is taken.</summary>
    [Fact]
    public void EqualLogitsGiveTheLowestToken()
    {
        using var scope = NewDisposeScope();
        var texts = tensor(
            new long[,]
            {
                { 1, 2, 3, 0, 0, 0, 0 },
            }
        );
        Assert.Equal([1.0], s_recitation.Test(tokens => zeros(tokens.shape[0], tokens.shape[1], 7), texts).Shares);
        Assert.Contains(
            "no numbers",
            Assert
                .Throws<InfluenceException>(() =>
                    s_recitation.Test(tokens => full([tokens.shape[0], tokens.shape[1], 7], double.NaN), texts)
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "logits [B, T, V]",
            Assert.Throws<InfluenceException>(() => s_recitation.Test(tokens => zeros(1, 7), texts)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "at least PrefixLength + SuffixLength = 64",
            Assert.Throws<InfluenceException>(() => new Recitation().Test(tokens => tokens, texts)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void AForecastHasPrecisionAndRecall()
    {
        using var scope = NewDisposeScope();
        var texts = zeros([5, 7], ScalarType.Int64);
        texts.select(1, 0).copy_(tensor(new long[] { 1, 2, 3, 4, 5 }));

        // A model that recites the texts that begin with one of some tokens.
        Recitation.Result Reciting(params long[] first) =>
            s_recitation.Test(
                tokens =>
                {
                    var known = zeros([tokens.shape[0]], ScalarType.Bool);
                    foreach (var token in first)
                    {
                        known.logical_or_(tokens.select(1, 0).eq(token));
                    }

                    var logits = zeros(tokens.shape[0], tokens.shape[1], 9);
                    logits.select(2, 8).copy_(known.logical_not().to_type(ScalarType.Float32).unsqueeze(1).expand(tokens.shape));
                    return logits;
                },
                texts
            );
        var forecast = s_recitation.Compare(Reciting(1, 2), Reciting(2, 3, 4));
        Assert.Equal((0.5, 1 / 3.0, 2, 3), (forecast.Precision.Value, forecast.Recall.Value, forecast.Predicted, forecast.Recited));
        var perfect = s_recitation.Compare(Reciting(2, 3), Reciting(2, 3));
        Assert.Equal((1.0, 1.0), (perfect.Precision.Value, perfect.Recall.Value));
        Assert.True(double.IsNaN(s_recitation.Compare(Reciting(), Reciting(2)).Precision.Value));
    }
}
