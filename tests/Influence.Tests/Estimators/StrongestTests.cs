using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>What sinks make of scores from any estimator: the strongest, ties among them, in the memory of a block.</summary>
public sealed class StrongestTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Few different values, so that most are ties; scores that rise, so that each replaces one; blocks of every size.</summary>
    [Theory]
    [InlineData("ties", 7, 1)]
    [InlineData("ties", 64, 3)]
    [InlineData("ties", 1000, 40)]
    [InlineData("equal", 100, 5)]
    [InlineData("rising", 100, 5)]
    [InlineData("falling", 300, 250)]
    [InlineData("signed zeros", 10, 4)]
    public void EqualTheDenseOnesAlsoAmongTies(string kind, int block, int k)
    {
        using var scope = NewDisposeScope();
        var numbers = arange(0, 3000, 1, ScalarType.Float32).reshape(3, 1000);
        var values = kind switch
        {
            "ties" => (numbers * 7919).remainder(5) - 2,
            "equal" => zeros_like(numbers),
            "rising" => numbers,
            "falling" => -numbers,
            _ => zeros_like(numbers).masked_fill(numbers.remainder(2).eq(0), -0.0f),
        };
        var (train, queries) = (Data(1000), Data(3));
        using var dense = new MadeUp(block, _ => values).Score(Task(), train, queries);
        var strongest = new MadeUp(block, _ => values).Strongest(k, Task(), train, queries);

        Assert.True(values.eq(dense.Values).all().item<bool>());
        for (var q = 0; q < 3; q++)
        {
            Assert.Equal(dense.Proponents(q, k).Select(e => (e.Id, e.Score)), strongest.Proponents(q).Select(e => (e.Id, e.Score)));
            Assert.Equal(dense.Opponents(q, k).Select(e => (e.Id, e.Score)), strongest.Opponents(q).Select(e => (e.Id, e.Score)));
        }

        Assert.Equal(1, strongest.RowOf(1));
        Assert.Contains("made up", strongest.ToString(), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => strongest.Proponents(3));
        Assert.Throws<InfluenceException>(() => strongest.RowOf(17));
    }

    /// <summary>Dense, these would be 400 MB; what is alive is a block of 3 MB and what is kept.</summary>
    [Fact]
    public void MillionsOfExamplesTakeTheMemoryOfABlock()
    {
        using var scope = NewDisposeScope();
        var (n, block) = (1_000_000, 8_000);
        var base_ = arange(0, 100 * block, 1, ScalarType.Float32).mul_(0.7f).sin_().reshape(100, block);
        var live = LiveTensors.OnThisThread;
        var most = 0L;
        var estimator = new MadeUp(
            block,
            first =>
            {
                most = Math.Max(most, LiveTensors.OnThisThread - live);
                return base_ + (first * 1e-6f);
            }
        )
        {
            Wide = true,
        };
        var memory = GC.GetTotalMemory(forceFullCollection: true);
        var strongest = estimator.Strongest(10, Task(), Data(n), Data(100));

        Assert.True(most < 50, $"{most} tensors at once");
        Assert.Equal(10, strongest.Proponents(99).Count);
        Assert.True(strongest.Proponents(0).Ids.All(id => id >= n - block), "The scores rise from block to block.");
        Assert.True(GC.GetTotalMemory(forceFullCollection: true) - memory < 100 << 20);
    }

    [Fact]
    public void WhatAnEstimatorDoesWrongIsNamed()
    {
        using var scope = NewDisposeScope();
        var (train, queries) = (Data(10) with { Ids = [.. Enumerable.Range(100, 10).Select(i => (long)i)] }, Data(2));
        Fails("too few", sink => sink.Add(0, 0, zeros(2, 9)));
        Fails("gave no score", _ => { }, begin: false);
        Fails("has not begun", sink => sink.Add(0, 0, zeros(2, 10)), begin: false);
        Fails("begun already", sink => sink.Begin([0], [0], ScalarType.Float32));
        Fails("may not repeat", sink => sink.Begin([0, 0], [0], ScalarType.Float32), begin: false);
        Fails("found Int64", sink => sink.Begin([0], [0], ScalarType.Int64), begin: false);
        Fails(
            "position 4 on",
            sink =>
            {
                sink.Add(0, 0, zeros(2, 4));
                sink.Add(0, 5, zeros(2, 5));
            }
        );
        Fails("lies outside", sink => sink.Add(1, 0, zeros(2, 10)));
        Fails("[queries, training examples]", sink => sink.Add(0, 0, zeros(20)));
        var thrown = Fails(
            "103, 105",
            sink =>
            {
                var bad = zeros(2, 6);
                bad[1].narrow(0, 3, 1).fill_(float.NaN);
                bad[1].narrow(0, 5, 1).fill_(float.PositiveInfinity);
                sink.Add(0, 0, bad);
            }
        );
        Assert.Contains("queries with ids 1 ", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([103L, 105], thrown.ExampleIds);
        Assert.Empty(_folder.Files);

        InfluenceException Fails(string expected, Action<ScoreSink> give, bool begin = true)
        {
            var estimator = new Anything(sink =>
            {
                if (begin)
                {
                    sink.Begin(queries.Ids, train.Ids, ScalarType.Float32);
                }

                give(sink);
            });
            var found = Assert.Throws<InfluenceException>(() =>
                estimator.ScoreToFile(_folder.Path("f.safetensors"), Task(), train, queries)
            );
            Assert.Contains(expected, found.Message, StringComparison.Ordinal);
            return found;
        }
    }

    /// <summary>What the scores would take is asked of the disk before the first of them is made.</summary>
    [Fact]
    public void ADiskThatIsTooSmallLeavesTheOlderFile()
    {
        using var scope = NewDisposeScope();
        File.WriteAllText(_folder.Path("f.safetensors"), "old");
        var made = false;
        var thrown = Assert.Throws<InfluenceException>(() =>
            new Anything(sink =>
            {
                sink.Begin(
                    [.. Enumerable.Range(0, 3_000_000).Select(i => (long)i)],
                    [.. Enumerable.Range(0, 3_000_000).Select(i => (long)i)],
                    ScalarType.Float64
                );
                made = true;
            }).ScoreToFile(_folder.Path("f.safetensors"), Task(), Data(10), Data(2))
        );

        Assert.False(made);
        Assert.Contains("are free there", thrown.Message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(_folder.Path("f.safetensors")));
        Assert.Equal(["f.safetensors"], _folder.Files);
    }

    /// <summary>An estimator's own error reaches the caller as it is, also one of a kind that files throw.</summary>
    [Fact]
    public void AnErrorOfTheEstimatorIsNotTheFiles()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<FileNotFoundException>(() =>
            new Anything(_ => throw new FileNotFoundException("the data")).ScoreToFile(
                _folder.Path("f.safetensors"),
                Task(),
                Data(10),
                Data(2)
            )
        );
        Assert.Empty(_folder.Files);
    }

    [Fact]
    public void PartsOfAFile()
    {
        using var scope = NewDisposeScope();
        var values = arange(0, 20, 1, ScalarType.Float32).reshape(2, 10);
        var path = _folder.Path("f.safetensors");
        new MadeUp(3, _ => values).ScoreToFile(path, Task(), Data(10), Data(2));
        using var row = InfluenceScores.LoadPart(path, queryIds: [1]);
        using var columns = InfluenceScores.LoadPart(path, trainIds: [9, 0]);
        using var saved = InfluenceScores.Load(path);
        saved.Save(_folder.Path("g.safetensors"));
        using var again = InfluenceScores.LoadPart(_folder.Path("g.safetensors"));

        Assert.True(values[1].eq(row.Values[0]).all().item<bool>());
        Assert.Equal([9.0, 0, 19, 10], [columns[0, 0], columns[0, 1], columns[1, 0], columns[1, 1]]);
        Assert.True(values.eq(again.Values).all().item<bool>());
        Assert.Contains(
            "17",
            Assert.Throws<InfluenceException>(() => InfluenceScores.LoadPart(path, [17])).Message,
            StringComparison.Ordinal
        );
        File.WriteAllBytes(_folder.Path("cut.safetensors"), File.ReadAllBytes(path)[..^20]);
        Assert.Contains(
            "truncated",
            Assert.Throws<InfluenceException>(() => InfluenceScores.LoadPart(_folder.Path("cut.safetensors"))).Message,
            StringComparison.Ordinal
        );
    }

    private static Examples Data(int count) => Examples.FromTensors(("x", zeros(count, 1)));

    private static InfluenceTask Task() => new(nn.Linear(1, 1)) { TrainingLoss = b => b["x"].sum(1) };

    /// <summary>Scores that need no model, written as a user outside of the library would.</summary>
    private sealed class MadeUp(int block, Func<int, Tensor> values) : IPairEstimator
    {
        /// <summary>Whether the delegate makes the block, and not everything.</summary>
        public bool Wide { get; init; }

        public ScoreMetadata ScoreInto(
            ScoreSink sink,
            InfluenceTask task,
            Examples train,
            Examples queries,
            IProgress<InfluenceProgress>? progress = null,
            CancellationToken cancellationToken = default
        )
        {
            sink.Begin(queries.Ids, train.Ids, ScalarType.Float32);
            for (var first = 0; first < train.Count; first += block)
            {
                using var scope = NewDisposeScope();
                var count = Math.Min(block, train.Count - first);
                sink.Add(0, first, Wide ? values(first).narrow(1, 0, count) : values(first).narrow(1, first, count));
            }

            return new ScoreMetadata { Estimator = "made up", Unit = "none" };
        }
    }

    private sealed class Anything(Action<ScoreSink> give) : IPairEstimator
    {
        public ScoreMetadata ScoreInto(
            ScoreSink sink,
            InfluenceTask task,
            Examples train,
            Examples queries,
            IProgress<InfluenceProgress>? progress = null,
            CancellationToken cancellationToken = default
        )
        {
            give(sink);
            return new ScoreMetadata { Estimator = "anything", Unit = "none" };
        }
    }
}
