using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class ScoreThresholdTests : SelectionStrategyContract
{
    protected override bool MayPickFewer => true;

    protected override SelectionStrategy Strategy(long seed) => new ScoreThreshold { Seed = seed, Minimum = 0.2 };

    [Fact]
    public void KeepsWhatReachesTheMinimumBestFirst()
    {
        var scores = ExampleScores.Of([1, 2, 3, 4, 5], [0.5, -1, 2, 0.49999, 0.5]);
        var selected = new ScoreThreshold { Minimum = 0.5 }.Select(scores, SelectionBudget.Fraction(1));
        Assert.Equal([3, 1, 5], selected.Ids);
        Assert.Equal([2, 0.5, 0.5], selected.Utilities);
        Assert.Contains("3 of 5", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void TheBudgetIsACeiling()
    {
        var scores = ExampleScores.Of([1, 2, 3], [1, 3, 2]);
        Assert.Equal([2, 3], new ScoreThreshold().Select(scores, SelectionBudget.Count(2)).Ids);
    }

    [Fact]
    public void WhereNothingPassesNothingIsPicked()
    {
        var selected = new ScoreThreshold { Minimum = 10 }.Select(ExampleScores.Of([1, 2], [1, 3]), SelectionBudget.Count(2));
        Assert.Empty(selected.Ids);
        Assert.Contains("0 of 2", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void AMinimumIsFinite(double minimum) => Assert.Throws<InfluenceException>(() => new ScoreThreshold { Minimum = minimum });
}
