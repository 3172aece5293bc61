using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class TopKTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new TopK { Seed = seed };

    [Fact]
    public void EqualsASortAndTiesGoToTheLowestId()
    {
        using var pool = new SelectionPool([30, 10, 20, 40]) { Lengths = [1, 1, 1, 1] };
        Assert.Equal([10, 20, 30, 40], pool.Ids);
        var scores = ExampleScores.Of([30, 10, 20, 40], [1, 2, 2, -1]);
        Assert.Equal([10, 20, 30], new TopK().Select(scores, SelectionBudget.Count(3)).Ids);
    }

    [Fact]
    public void OneQueryHasRanksToo()
    {
        var selected = new TopK { Aggregation = ScoreAggregation.MeanRank }.Select(
            ExampleScores.Of([1, 2, 3], [-7, 0.5, 0.5]),
            SelectionBudget.Count(3)
        );
        Assert.Equal([2, 3, 1], selected.Ids);
        Assert.Equal([2.5, 2.5, 1], selected.Utilities);
    }

    [Fact]
    public void SumsFillATokenBudgetByTheScoreOfAToken()
    {
        using var pool = new SelectionPool(ExampleScores.Of([1, 2, 3, 4, 5], [10, 6, 6, -1, -4])) { Lengths = [10, 4, 3, 1, 5] };
        var plain = new TopK().Select(pool, SelectionBudget.Tokens(10));
        var perToken = new TopK { PerToken = true }.Select(pool, SelectionBudget.Tokens(10));
        Assert.Equal([1], plain.Ids); // a sum of 10
        Assert.Equal([3, 2, 4], perToken.Ids); // a sum of 11; then the long one no longer fits
        Assert.Equal([2, 1.5, -1], perToken.Utilities);
        Assert.Equal(
            [3, 2, 1, 5, 4],
            new TopK { PerToken = true }
                .Select(pool, SelectionBudget.Count(5))
                .Ids
        );
    }

    /// <summary>The greedy rule by score per token misses the best sum by less than the largest score.</summary>
    [Fact]
    public void PerTokenIsNearTheBestSum()
    {
        var random = new Random(3);
        for (var round = 0; round < 30; round++)
        {
            long[] ids = [.. Enumerable.Range(0, 10)],
                lengths = [.. ids.Select(_ => (long)random.Next(1, 9))];
            double[] scores = [.. ids.Select(_ => random.NextDouble())];
            using var pool = new SelectionPool(ExampleScores.Of(ids, scores)) { Lengths = lengths };
            var best = Enumerable
                .Range(0, 1 << 10)
                .Where(set => ids.Where(i => (set >> (int)i & 1) == 1).Sum(i => lengths[i]) <= 15)
                .Max(set => ids.Where(i => (set >> (int)i & 1) == 1).Sum(i => scores[i]));
            var sum = new TopK { PerToken = true }
                .Select(pool, SelectionBudget.Tokens(15))
                .Ids.Sum(id => scores[id]);
            Assert.InRange(sum, best - scores.Max(), best + 1e-12); // rounding of sums in another order
        }
    }

    [Fact]
    public void PerTokenNeedsLengths()
    {
        using var pool = new SelectionPool(ExampleScores.Of([1, 2], [1, 2]));
        var message = Assert.Throws<InfluenceException>(() => new TopK { PerToken = true }.Select(pool, SelectionBudget.Count(1))).Message;
        Assert.Contains("Lengths = ...", message, StringComparison.Ordinal);
    }
}
