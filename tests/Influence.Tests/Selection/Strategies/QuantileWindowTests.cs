using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class QuantileWindowTests : SelectionStrategyContract
{
    protected override bool MayPickFewer => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new QuantileWindow
        {
            Seed = seed,
            From = 0.1,
            To = 0.9,
        };

    [Theory]
    [InlineData(0, 1, new long[] { 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 })]
    [InlineData(0.5, 1, new long[] { 9, 8, 7, 6, 5 })]
    [InlineData(0.25, 0.65, new long[] { 6, 5, 4, 3, 2 })] // both ends are the quantile of a candidate
    [InlineData(0.26, 0.64, new long[] { 5, 4, 3 })]
    [InlineData(0.96, 1, new long[] { })]
    public void KeepsTheWindowBestFirst(double from, double to, long[] expected)
    {
        long[] ids = [.. Enumerable.Range(0, 10)];
        var scores = ExampleScores.Of(ids, [.. ids.Select(id => Math.Exp(id))]);
        var selected = new QuantileWindow { From = from, To = to }.Select(scores, SelectionBudget.Fraction(1));
        Assert.Equal(expected, selected.Ids);
        Assert.Contains($"{expected.Length} of 10", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void AmongEqualScoresTheLowestIdIsHighest()
    {
        var selected = new QuantileWindow { From = 0.5 }.Select(ExampleScores.Of([1, 2, 3, 4], [7, 7, 7, 7]), SelectionBudget.Fraction(1));
        Assert.Equal([1, 2], selected.Ids);
    }

    [Fact]
    public void AWindowThatIsNoneIsRefused()
    {
        Assert.Throws<InfluenceException>(() => new QuantileWindow { From = -0.1 });
        Assert.Throws<InfluenceException>(() => new QuantileWindow { To = double.NaN });
        var thrown = Assert.Throws<InfluenceException>(() =>
            new QuantileWindow { From = 0.6, To = 0.6 }.Select(ExampleScores.Of([1], [7]), SelectionBudget.Count(1))
        );
        Assert.Contains("below To", thrown.Message, StringComparison.Ordinal);
    }
}
