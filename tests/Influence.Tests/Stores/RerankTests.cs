using Influence.Curvature;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>The store puts examples forward, an exact estimator ranks them.</summary>
public sealed class RerankTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    /// <summary>A coarse store, whose own order is another.</summary>
    private StoredGradients Coarse() =>
        new(
            GradientStore.Write(
                _c.Task(),
                _c.Train,
                new GradientProjection
                {
                    Dimension = 1,
                    Dtype = ScalarType.Int8,
                    ExamplesPerShard = 4,
                },
                _folder.Path("s")
            )
        );

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(11)]
    public void WithAllAsCandidatesItIsTheExactEstimators(int k)
    {
        var exact = new TracIn { Similarity = TracIn.GradientSimilarity.Cosine };
        var expected = exact.Strongest(k, _c.Task(), _c.Train, _c.Queries);
        var found = Coarse().Rerank(k, 11, exact, _c.Task(), _c.Train with { BatchSize = 3 }, _c.Queries);
        Assert.Equal((k, 11), (found.K, found.TrainCount));
        Assert.Equal(expected.QueryIds, found.QueryIds);
        for (var q = 0; q < 4; q++)
        {
            Same(expected.Proponents(q), found.Proponents(q));
            Same(expected.Opponents(q), found.Opponents(q));
        }

        Assert.Equal(expected.Metadata.Estimator, found.Metadata.Estimator);
        Assert.Contains("only the 11 highest", found.Metadata.Notes, StringComparison.Ordinal);
    }

    /// <summary>Each query's own candidates, in the order and with the scores of the exact estimator, whatever the other queries put
    /// forward.</summary>
    [Fact]
    public void CandidatesAreRankedByTheExactScores()
    {
        using var scope = NewDisposeScope();
        var train = _c.Train with { Ids = [.. Enumerable.Range(0, 11).Select(i => 100L - (7 * i))] };
        var store = new StoredGradients(
            GradientStore.Write(
                _c.Task(),
                train,
                new GradientProjection
                {
                    Dimension = 1,
                    Dtype = ScalarType.Int8,
                    ExamplesPerShard = 4,
                },
                _folder.Path("s")
            )
        );
        using var fitted = Ekfac.Fit(_c.Task(), train, new Ekfac.Options { Fisher = Fisher.Empirical });
        var exact = new InfluenceFunction(fitted);
        using var scores = exact.Score(_c.Task(), train, _c.Queries);
        using var coarse = store.Score(_c.Task(), _c.Queries);
        var values = scores.Values.data<double>().ToArray();
        var found = store.Rerank(2, 3, exact, _c.Task(), train, _c.Queries);
        var reordered = 0;
        for (var q = 0; q < 4; q++)
        {
            var candidates = coarse.Proponents(q, 3).Concat(coarse.Opponents(q, 3)).Select(e => e.Id).ToHashSet();
            Assert.Equal(6, candidates.Count);
            var ranked = train
                .Ids.Select((id, i) => (Id: id, Score: values[(11 * q) + i]))
                .Where(e => candidates.Contains(e.Id))
                .OrderByDescending(e => e.Score)
                .ToList();
            Check(ranked.Take(2), found.Proponents(q));
            Check(Enumerable.Reverse(ranked).Take(2), found.Opponents(q));
            reordered += coarse.Proponents(q, 2).Select(e => e.Id).SequenceEqual(found.Proponents(q).Select(e => e.Id)) ? 0 : 1;
        }

        Assert.True(reordered > 0, "The store's order was right already: nothing was seen.");

        static void Check(IEnumerable<(long Id, double Score)> expected, RankedExamples ranking)
        {
            Assert.Equal(expected.Select(e => e.Id), ranking.Select(e => e.Id));
            Assert.All(
                expected.Zip(ranking),
                pair => Assert.Equal(pair.First.Score, pair.Second.Score, 1e-9 * Math.Max(1, Math.Abs(pair.First.Score)))
            );
        }
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        var store = Coarse();
        foreach (var (k, candidates) in new[] { (0, 3), (4, 3), (1, 12) })
        {
            Assert.Contains(
                $"found k = {k} and candidates = {candidates}",
                Assert.Throws<InfluenceException>(() => store.Rerank(k, candidates, new TracIn(), _c.Task(), _c.Train, _c.Queries)).Message,
                StringComparison.Ordinal
            );
        }

        var before = LiveTensors.OnThisThread;
        store.Rerank(1, 2, new TracIn(), _c.Task(), _c.Train, _c.Queries);
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private static void Same(RankedExamples expected, RankedExamples found)
    {
        Assert.Equal(expected.Select(e => e.Id), found.Select(e => e.Id));
        Assert.All(expected.Zip(found), pair => Assert.Equal(pair.First.Score, pair.Second.Score, 1e-10));
    }
}
