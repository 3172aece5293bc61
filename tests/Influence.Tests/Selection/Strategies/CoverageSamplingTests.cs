using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class CoverageSamplingTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new CoverageSampling { Seed = seed, Bins = 7 };

    /// <summary>The method sheet's case: 12 for bins of 1, 5 and 50; the order of the bins does not matter.</summary>
    [Theory]
    [InlineData(new long[] { 1, 5, 50 }, 12, new long[] { 1, 5, 6 })]
    [InlineData(new long[] { 50, 1, 5 }, 12, new long[] { 6, 1, 5 })]
    [InlineData(new long[] { 0, 50, 0, 1, 5 }, 12, new long[] { 0, 6, 0, 1, 5 })]
    [InlineData(new long[] { 3, 3, 3 }, 8, new long[] { 2, 3, 3 })]
    [InlineData(new long[] { 4, 4 }, 8, new long[] { 4, 4 })]
    [InlineData(new long[] { 4, 4 }, 1, new long[] { 0, 1 })]
    public void TheSmallestBinsAreServedFirst(long[] sizes, int total, long[] expected)
    {
        // The score of the candidates of bin b is b, so that each bin of equal width holds its own; empty bins at the ends are none.
        double[] scores = [.. sizes.SelectMany((size, bin) => Enumerable.Repeat((double)bin, (int)size))];
        var bins = (int)(scores.Max() - scores.Min()) + 1;

        var selected = new CoverageSampling { Bins = bins, Seed = 4 }.Select(
            ExampleScores.Of([.. Enumerable.Range(0, scores.Length)], scores),
            SelectionBudget.Count(total)
        );

        Assert.Equal(expected, sizes.Select((_, bin) => selected.Ids.LongCount(id => scores[id] == bin)));
        Assert.Equal(selected.Ids.Select(id => scores[id]), selected.Utilities);
    }

    /// <summary>Ten candidates of 3 tokens without the two hardest, 10 tokens: three fit, and that is not all that there are.</summary>
    [Fact]
    public void ABudgetInTokensThatIsNotFilledToTheLastIsNoShortage()
    {
        long[] ids = [.. Enumerable.Range(0, 10)];
        using var pool = new SelectionPool(ExampleScores.Of(ids, [.. ids.Select(id => (double)id)])) { Lengths = [.. ids.Select(_ => 3L)] };
        var strategy = new CoverageSampling { Bins = 3, HardestDropped = 0.2 };

        var some = strategy.Select(pool, SelectionBudget.Tokens(10));
        Assert.Equal(3, some.Count);
        Assert.DoesNotContain(some.Notes, note => note.Contains("fewer than the budget", StringComparison.Ordinal));

        var all = strategy.Select(pool, SelectionBudget.Tokens(27));
        Assert.Equal(8, all.Count);
        Assert.Contains("8 candidates, fewer than the budget", Assert.Single(all.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void TheHardestAreLeftOut()
    {
        long[] ids = [.. Enumerable.Range(0, 20)];
        var strategy = new CoverageSampling { Bins = 4, HardestDropped = 0.25 };
        var some = strategy.Select(ExampleScores.Of(ids, [.. ids.Select(id => (double)id)]), SelectionBudget.Count(8));
        Assert.Equal(8, some.Count);
        Assert.All(some.Ids, id => Assert.InRange(id, 0, 14));

        // 15 are left: two in each of the four bins of the range 0 to 14.
        Assert.All(some.Ids.GroupBy(id => (int)(id / 14.0 * 4 is var b && b >= 4 ? 3 : b)), bin => Assert.Equal(2, bin.Count()));
        var all = strategy.Select(ExampleScores.Of(ids, [.. ids.Select(id => (double)id)]), SelectionBudget.Count(18));
        Assert.Equal(Enumerable.Range(0, 15).Select(i => (long)i), all.Ids.Order());
        Assert.Contains("15 candidates, fewer than the budget", Assert.Single(all.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void EqualScoresAreOneBinAndAnyChoice()
    {
        var selected = new CoverageSampling().Select(ExampleScores.Of([1, 2, 3, 4], [7, 7, 7, 7]), SelectionBudget.Count(2));
        Assert.Equal(2, selected.Ids.Distinct().Count());
    }

    /// <summary>Bins hold from one value to the next: both ends, and a range that is too wide for a double's difference.</summary>
    [Fact]
    public void BinsAreOfEqualWidth()
    {
        Assert.Equal([0, 0, 1, 2, 3, 3], ScoreBins.Of([0, 0.24, 0.26, 0.5, 0.76, 1], 4));
        Assert.Equal([0, 1, 1], ScoreBins.Of([double.MinValue, 0, double.MaxValue], 2));
    }

    [Fact]
    public void SettingsOutOfRangeAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new CoverageSampling { Bins = 0 });
        Assert.Throws<InfluenceException>(() => new CoverageSampling { HardestDropped = 1 });
        Assert.Throws<InfluenceException>(() => new CoverageSampling { HardestDropped = -0.1 });
        Assert.Throws<InfluenceException>(() => new CoverageSampling { HardestDropped = double.NaN });
    }
}

/// <summary>The same contract where some are left out beforehand.</summary>
public sealed class CoverageSamplingWithoutTheHardestTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override bool MayPickFewer => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new CoverageSampling
        {
            Seed = seed,
            Bins = 7,
            HardestDropped = 0.2,
        };
}
