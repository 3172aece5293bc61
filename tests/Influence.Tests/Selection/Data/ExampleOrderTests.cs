using Influence.Selection;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

/// <summary>Orders of training: folding and curricula.</summary>
public sealed class ExampleOrderTests
{
    private static readonly long[] s_ids = [.. Enumerable.Range(0, 9)];

    [Theory]
    [InlineData(3, new long[] { 0, 3, 6, 1, 4, 7, 2, 5, 8 })]
    [InlineData(2, new long[] { 0, 2, 4, 6, 8, 1, 3, 5, 7 })]
    [InlineData(1, new long[] { 0, 1, 2, 3, 4, 5, 6, 7, 8 })]
    [InlineData(9, new long[] { 0, 1, 2, 3, 4, 5, 6, 7, 8 })]
    public void Folds(int folds, long[] expected)
    {
        var scores = ExampleScores.Of([.. s_ids.Reverse()], [.. s_ids.Reverse().Select(id => (double)id)]);
        Assert.Equal(
            expected,
            new Folding { Folds = folds }
                .Order(scores)
                .Ids
        );
        Assert.Equal(
            expected.Select(id => 8 - id),
            new Folding { Folds = folds, HighestFirst = true }
                .Order(scores)
                .Ids
        );
    }

    [Fact]
    public void TiesGoToTheLowestIdFromEitherEnd()
    {
        var scores = ExampleScores.Of([3, 1, 2], [5, 5, 4]);
        Assert.Equal(
            [2, 1, 3],
            new Folding { Folds = 1 }
                .Order(scores)
                .Ids
        );
        Assert.Equal(
            [1, 3, 2],
            new Folding { Folds = 1, HighestFirst = true }
                .Order(scores)
                .Ids
        );
    }

    [Fact]
    public void BadFoldsAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new Folding { Folds = 0 });
        Assert.Contains(
            "3 folds for 2",
            Assert.Throws<InfluenceException>(() => new Folding().Order(ExampleScores.Of([1, 2], [1, 2]))).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(
            [2L],
            Assert.Throws<InfluenceException>(() => new Folding { Folds = 1 }.Order(ExampleScores.Of([1, 2], [1, double.NaN]))).ExampleIds
        );
    }

    [Theory]
    [InlineData(InfluenceCurriculum.Kind.Ascending, false, new long[] { 1, 2, 3, 4 }, new long[] { 4, 3, 2, 1 })]
    [InlineData(InfluenceCurriculum.Kind.Descending, false, new long[] { 4, 3, 2, 1 }, new long[] { 1, 2, 3, 4 })]
    [InlineData(InfluenceCurriculum.Kind.Alternating, false, new long[] { 1, 2, 3, 4 }, new long[] { 1, 2, 3, 4 })]
    [InlineData(InfluenceCurriculum.Kind.Ascending, true, new long[] { 1, 2 }, new long[] { 4, 3, 2, 1 })]
    public void EachEpochFollowsItsOwnScores(InfluenceCurriculum.Kind direction, bool growing, long[] first, long[] second)
    {
        var order = new InfluenceCurriculum { Direction = direction, Growing = growing }.Order([
            ExampleScores.Of([1, 2, 3, 4], [-2, -1, 5, 7]),
            ExampleScores.Of([4, 3, 2, 1], [0, 1, 2, 3]),
        ]);
        Assert.Equal([first, second], order.Epochs);
    }

    [Fact]
    public void SegmentsAreShuffledWithin()
    {
        long[] ids = [.. Enumerable.Range(0, 40)];
        var scores = ExampleScores.Of(ids, [.. ids.Select(id => (double)id)]);
        var order = new InfluenceCurriculum { ShuffleWithin = 10, Seed = 3 }.Order([scores, scores]);
        for (var segment = 0; segment < 4; segment++)
        {
            Assert.Equal(ids[(10 * segment)..(10 * (segment + 1))], order.Ids.Skip(10 * segment).Take(10).Order());
        }

        Assert.NotEqual(ids, order.Ids);
        Assert.NotEqual(order.Epochs[0], order.Epochs[1]);
        Assert.Equal(
            order.Epochs,
            new InfluenceCurriculum { ShuffleWithin = 10, Seed = 3 }
                .Order([scores, scores])
                .Epochs
        );
        Assert.NotEqual(
            order.Epochs,
            new InfluenceCurriculum { ShuffleWithin = 10, Seed = 4 }
                .Order([scores, scores])
                .Epochs
        );
    }

    [Fact]
    public void EpochsOfUnlikeExamplesAreRefused()
    {
        var thrown = Assert.Throws<InfluenceException>(() =>
            new InfluenceCurriculum().Order([ExampleScores.Of([1, 2], [1, 2]), ExampleScores.Of([2, 3], [1, 2])])
        );
        Assert.Equal([1L, 3], thrown.ExampleIds);
        Assert.Throws<InfluenceException>(() => new InfluenceCurriculum().Order([]));
        Assert.Throws<InfluenceException>(() => new InfluenceCurriculum { ShuffleWithin = 0 });
    }

    /// <summary>A loader goes through one epoch of the order at each pass, and begins again when they are used up.</summary>
    [Fact]
    public void ALoaderFollowsTheOrder()
    {
        using var scope = NewDisposeScope();
        using var data = utils.data.TensorDataset(arange(4, ScalarType.Int64));
        var order = ExampleOrder.Of([
            [10, 12],
            [13, 11, 10],
        ]);
        using var loader = utils.data.DataLoader(data, 2, order.Sampler([10, 11, 12, 13]), disposeDataset: false);
        long[] Pass() => [.. loader.SelectMany(batch => batch[0].data<long>().ToArray())];
        Assert.Equal([0, 2], Pass());
        Assert.Equal([3, 1, 0], Pass());
        Assert.Equal([0, 2], Pass());
        Assert.Equal(
            [7L],
            Assert
                .Throws<InfluenceException>(() =>
                    ExampleOrder
                        .Of([
                            [7, 10],
                        ])
                        .Sampler([10])
                )
                .ExampleIds
        );
    }

    [Fact]
    public void AnOrderOfASelection()
    {
        var order = ExampleOrder.Of([
            [5, 1, 3],
            [3, 5, 1],
        ]);
        Assert.Equal(
            [
                [5, 3],
                [3, 5],
            ],
            order.Only([3, 5]).Epochs.Select(epoch => epoch.ToArray())
        );
        Assert.Equal([8L], Assert.Throws<InfluenceException>(() => order.Only([3, 8])).ExampleIds);
        Assert.Throws<InfluenceException>(() =>
            ExampleOrder
                .Of([
                    [1],
                    [2],
                ])
                .Only([1])
        );
        Assert.Throws<InfluenceException>(() => ExampleOrder.Of([]));
        Assert.Contains("3 examples", order.ToString(), StringComparison.Ordinal);
    }
}
