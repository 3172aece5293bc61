using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class SslPrototypesTests : SelectionStrategyContract
{
    // One cluster: the answer must not depend on the seed of k-means.
    protected override SelectionStrategy Strategy(long seed) => new SslPrototypes { Seed = seed, Clusters = 1 };

    /// <summary>The centroid of 0, 1, 2, 3, 9 is 3: distances 3, 2, 1, 0, 6.</summary>
    [Fact]
    public void APointAtItsCentroidScoresZeroAndTheFarthestComeFirst()
    {
        using var pool = new SelectionPool([0, 1, 2, 3, 9]) { Features = tensor(new double[] { 0, 1, 2, 3, 9 }).unsqueeze(1) };
        var hardest = new SslPrototypes { Clusters = 1, Distance = FeatureDistance.Euclidean }.Select(pool, SelectionBudget.Count(5));
        Assert.Equal([9, 0, 1, 2, 3], hardest.Ids);
        Assert.All(new double[] { 6, 3, 2, 1, 0 }.Zip(hardest.Utilities), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
        var easiest = new SslPrototypes
        {
            Clusters = 1,
            Distance = FeatureDistance.Euclidean,
            Keep = SslPrototypes.Order.Easiest,
        }.Select(pool, SelectionBudget.Count(2));
        Assert.Equal([3, 2], easiest.Ids);
    }

    [Fact]
    public void ByCosineOnlyTheDirectionCounts()
    {
        using var pool = new SelectionPool([1, 2, 3])
        {
            Features = tensor(
                new double[,]
                {
                    { 1, 0 },
                    { 1, 1 },
                    { 0, 100 },
                }
            ),
        };
        var selected = new SslPrototypes { Clusters = 1, Keep = SslPrototypes.Order.Easiest }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([2, 1, 3], selected.Ids);
        Assert.Equal(0, selected.Utilities[0], 1e-12);
        Assert.Equal(-(1 - Math.Sqrt(0.5)), selected.Utilities[1], 1e-12);
    }

    [Fact]
    public void HalfOfTheBudgetCanBeDealtToTheGroups()
    {
        long[] ids = [.. Enumerable.Range(0, 12)];
        using var pool = new SelectionPool(ids)
        {
            Features = tensor(ids.Select(i => i < 10 ? 10.0 + i : i / 100.0).ToArray()).unsqueeze(1),
            Groups = ExampleGroups.Of(ids, id => id < 10 ? "far" : "near"),
        };
        // One cluster with its centroid at about 12: the two "near" ones are the farthest; the easiest are all "far".
        var alone = new SslPrototypes
        {
            Clusters = 1,
            Distance = FeatureDistance.Euclidean,
            Keep = SslPrototypes.Order.Easiest,
        };
        Assert.DoesNotContain(alone.Select(pool, SelectionBudget.Count(4)).Ids, id => id >= 10);
        var balanced = (alone with { Balance = 0.5 }).Select(pool, SelectionBudget.Count(4));
        Assert.Equal(1, balanced.Ids.Count(id => id >= 10));
        // A part of four each, of which "near" has only two: the rest goes to whoever is next.
        Assert.Equal(2, (alone with { Balance = 1 }).Select(pool, SelectionBudget.Count(8)).Ids.Count(id => id >= 10));
    }

    [Fact]
    public void IdenticalPointsAndTooManyClustersAreServed()
    {
        using var pool = new SelectionPool([3, 1, 2]) { Features = ones(3, 2) };
        Assert.Equal(
            [1, 2],
            new SslPrototypes { Clusters = 9 }
                .Select(pool, SelectionBudget.Count(2))
                .Ids
        );
    }

    [Fact]
    public void SettingsAndPoolsThatAreWrongAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new SslPrototypes { Clusters = 0 });
        Assert.Throws<InfluenceException>(() => new SslPrototypes { Balance = 1.5 });
        using var pool = new SelectionPool([1, 2]);
        var message = Assert
            .Throws<InfluenceException>(() => new SslPrototypes { Balance = 0.5 }.Select(pool, SelectionBudget.Count(1)))
            .Message;
        Assert.Contains("features", message, StringComparison.Ordinal);
        Assert.Contains("groups", message, StringComparison.Ordinal);
    }
}
