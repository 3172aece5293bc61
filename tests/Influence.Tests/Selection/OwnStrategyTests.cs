using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

/// <summary>The example in the documentation of <see cref="SelectionStrategy"/>, held to the contract.</summary>
public sealed class OwnStrategyTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Shortest { Seed = seed };

    /// <summary>A number that is none is said at the pick, with the id; infinite ones are allowed.</summary>
    [Fact]
    public void AUtilityThatIsNoNumberIsSaid()
    {
        using var pool = new SelectionPool([7, 8]);
        var thrown = Assert.Throws<InfluenceException>(() => new Worth(double.NaN).Select(pool, SelectionBudget.Count(2)));
        Assert.Contains("example 8", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([8], thrown.ExampleIds);
        Assert.Equal(double.PositiveInfinity, new Worth(double.PositiveInfinity).Select(pool, SelectionBudget.Count(2)).Utilities[1]);
    }

    private sealed record Worth(double Second) : SelectionStrategy
    {
        public override string Name => "given";

        protected override void Pick(SelectionPool pool, Picks picks, Run run) => picks.AddInOrder([0, 1], [1, Second]);
    }

    private sealed record Shortest : SelectionStrategy
    {
        public override string Name => "shortest";

        protected override void Pick(SelectionPool pool, Picks picks, Run run)
        {
            var order = Enumerable.Range(0, pool.Count).OrderBy(i => pool.Lengths![i]);
            picks.AddInOrder(order, [.. pool.Lengths!.Select(length => -(double)length)]);
        }
    }
}
