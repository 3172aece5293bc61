using Influence.Numerics;
using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class DensityPruningTests : SelectionStrategyContract
{
    // One cluster: the answer must not depend on the seed of k-means.
    protected override SelectionStrategy Strategy(long seed) => new DensityPruning { Seed = seed, Clusters = 1 };

    /// <summary>The sheet's example; bisection ends at the last digit of a double.</summary>
    [Fact]
    public void TheProjectionIsTheSheets()
    {
        var sizes = BoundedSimplex.Project([50, 30, 20], [0, 0, 0], [30, 60, 60], 100);
        Assert.All(new double[] { 30, 40, 30 }.Zip(sizes), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
        var inactive = BoundedSimplex.Project([50, 30, 20], [0, 0, 0], [60, 60, 60], 100);
        Assert.All(new double[] { 50, 30, 20 }.Zip(inactive), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
    }

    /// <summary>No feasible point on a grid is nearer.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void TheProjectionIsTheNearestPoint(int seed)
    {
        var random = new Random(seed);
        var (lower, upper) = (new double[3], new double[3]);
        for (var j = 0; j < 3; j++)
        {
            lower[j] = random.Next(3);
            upper[j] = lower[j] + 2 + random.Next(8);
        }

        var total = Math.Floor((lower.Sum() + upper.Sum()) / 2);
        double[] target = [random.NextDouble() * 15, random.NextDouble() * 15, random.NextDouble() * 15];
        var found = BoundedSimplex.Project(target, lower, upper, total);
        Assert.Equal(total, found.Sum(), 1e-9);
        Assert.All(Enumerable.Range(0, 3), j => Assert.InRange(found[j], lower[j], upper[j]));
        for (var x = lower[0]; x <= upper[0]; x += 0.25)
        {
            for (var y = lower[1]; y <= upper[1]; y += 0.25)
            {
                if (total - x - y >= lower[2] && total - x - y <= upper[2])
                {
                    Assert.True(Distance([x, y, total - x - y]) >= Distance(found) - 1e-9);
                }
            }
        }

        double Distance(double[] point) => point.Zip(target, (p, t) => (p - t) * (p - t)).Sum();
    }

    [Fact]
    public void RoundingKeepsTheSum()
    {
        Assert.Equal([3, 3, 4], BoundedSimplex.LargestRemainder([3.2, 3.3, 3.5]));
        Assert.Equal([4, 3, 3], BoundedSimplex.LargestRemainder([10 / 3.0, 10 / 3.0, 10 / 3.0]));
        Assert.Equal([30, 40, 30], BoundedSimplex.LargestRemainder([30 - 1e-12, 40, 30 + 1e-12]));
    }

    /// <summary>P = softmax(C / tau) = (.5, .3, .2) with caps (30, 60, 60) and a budget of 100.</summary>
    [Fact]
    public void SizesFollowComplexityWithinWhatClustersHave()
    {
        var strategy = new DensityPruning { Temperature = 2 };
        double[] complexity = [2 * Math.Log(0.5), 2 * Math.Log(0.3), 2 * Math.Log(0.2)];
        Assert.Equal([30, 40, 30], strategy.Sizes(complexity, [30, 60, 60], 100));
        Assert.Equal([50, 30, 20], strategy.Sizes(complexity, [60, 60, 60], 100));
        // A least size of 40 lifts two clusters, and one of 11 gives at least 10.
        Assert.Equal([10, 40, 50], (strategy with { LeastOfACluster = 40 }).Sizes([-9, 0, 0.5], [11, 60, 60], 100));
        // A budget too small for one of each.
        Assert.Equal(2, strategy.Sizes(complexity, [5, 5, 5], 2).Sum());
    }

    [Fact]
    public void ATightClusterGivesLessThanAWideOne()
    {
        var random = new Random(5);
        var features = new double[100, 2];
        for (var i = 0; i < 100; i++)
        {
            var angle = i < 50 ? 0.01 * random.NextDouble() : 1.2 + (0.6 * random.NextDouble());
            (features[i, 0], features[i, 1]) = (Math.Cos(angle), Math.Sin(angle));
        }

        using var pool = new SelectionPool([.. Enumerable.Range(0, 100).Select(i => (long)i)]) { Features = tensor(features) };
        var selected = new DensityPruning { Clusters = 2, Temperature = 0.01 }.Select(pool, SelectionBudget.Count(40));
        Assert.InRange(selected.Ids.Count(id => id >= 50), 30, 39);
        Assert.Contains(selected.Ids, id => id < 50);
    }

    [Fact]
    public void IdenticalPointsAreServed()
    {
        using var pool = new SelectionPool([3, 1, 2]) { Features = ones(3, 2) };
        Assert.Equal([1, 2], new DensityPruning().Select(pool, SelectionBudget.Count(2)).Ids);
    }

    [Fact]
    public void SettingsAndPoolsThatAreWrongAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new DensityPruning { Clusters = 0 });
        Assert.Throws<InfluenceException>(() => new DensityPruning { Temperature = 0 });
        Assert.Throws<InfluenceException>(() => new DensityPruning { NearestCentroids = 0 });
        Assert.Throws<InfluenceException>(() => new DensityPruning { LeastOfACluster = -1 });
        using var pool = new SelectionPool([1, 2]);
        Assert.Contains(
            "features",
            Assert.Throws<InfluenceException>(() => new DensityPruning().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }
}
