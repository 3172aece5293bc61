using Influence.Recipes;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>The synthetic copy task.</summary>
public class KeyValueProbesTests
{
    private static readonly long[] s_many = [.. Enumerable.Range(10, 60).Select(i => (long)i)];

    /// <summary>Every question's key stands once among the pairs, and what follows is its value, at the sources that are named.</summary>
    [Theory]
    [InlineData(1, 2, 3, false)]
    [InlineData(2, 1, 0, true)]
    public void TheAnswerStandsOnceBefore(int keyLength, int valueLength, int shots, bool separated)
    {
        using var scope = NewDisposeScope();
        var probes = new AttentionInfluence.KeyValueProbes(s_many)
        {
            Count = 20,
            Pairs = 6,
            Shots = shots,
            KeyLength = keyLength,
            ValueLength = valueLength,
            Seed = 3,
            Opening = separated ? [1, 2] : [],
            Separator = separated ? [3] : [],
            Closing = separated ? [4, 5] : [],
        };
        var made = probes.Make(CPU);
        Assert.Equal([20, probes.Length], made.Tokens.shape);
        for (var n = 0; n < 20; n++)
        {
            var tokens = made.Tokens[n].data<long>().ToArray();
            var sources = made.Sources[n].data<long>().ToArray();
            Assert.Equal(probes.Length - 2, made.Predicting[^1]);
            for (var a = 0; a < valueLength; a++)
            {
                Assert.Equal(tokens[sources[a]], tokens[made.Predicting[a] + 1]);

                // No other place before has that token: all are different.
                Assert.Equal(
                    [(int)sources[a]],
                    Enumerable.Range(0, (int)made.Predicting[0] + 1).Where(i => tokens[i] == tokens[sources[a]])
                );
            }

            // The key and its separator stand before the source as they stand before the answer.
            var before = keyLength + (separated ? 1 : 0);
            Assert.Equal(
                tokens[((int)sources[0] - before)..(int)sources[0]],
                tokens[((int)made.Predicting[0] + 1 - before)..((int)made.Predicting[0] + 1)]
            );
            Assert.Equal(separated ? [1, 2] : [], tokens.Where(t => t is 1 or 2));
            Assert.Equal(separated ? (6 + shots + 1) : 0, tokens.Count(t => t == 3));
        }
    }

    [Fact]
    public void TheSeedDecides()
    {
        using var scope = NewDisposeScope();
        var probes = new AttentionInfluence.KeyValueProbes(s_many) { Count = 3 };
        Assert.True(probes.Tokens().eq(probes.Tokens()).all().item<bool>());
        Assert.False(probes.Tokens().eq((probes with { Seed = 1 }).Tokens()).all().item<bool>());

        // Adding sequences does not change the first ones.
        Assert.True(probes.Tokens().eq((probes with { Count = 5 }).Tokens().narrow(0, 0, 3)).all().item<bool>());
    }

    [Fact]
    public void ASmallVocabularyStillHasDifferentKeys()
    {
        using var scope = NewDisposeScope();
        var probes = new AttentionInfluence.KeyValueProbes([5, 6, 7, 8])
        {
            Count = 30,
            Pairs = 8,
            Shots = 2,
            KeyLength = 2,
            ValueLength = 1,
        };
        var tokens = probes.Tokens();
        for (var n = 0; n < 30; n++)
        {
            var row = tokens[n].data<long>().ToArray();
            Assert.Equal(8, Enumerable.Range(0, 8).Select(p => (row[3 * p], row[(3 * p) + 1])).Distinct().Count());
        }
    }

    [Fact]
    public void BadSettingsAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes([1]));
        Assert.Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes([1, 1]));
        Assert.Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes([1, -100]));
        Assert.Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes([1, 2]) { Count = 0 });
        Assert.Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes([1, 2]) { ValueLength = 0 });
        Assert.Contains(
            "more than Shots",
            Assert
                .Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes(s_many) { Pairs = 3, Shots = 3 }.Tokens())
                .Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "too few keys",
            Assert.Throws<InfluenceException>(() => new AttentionInfluence.KeyValueProbes([1, 2, 3]) { Pairs = 16 }.Tokens()).Message,
            StringComparison.Ordinal
        );
    }
}
