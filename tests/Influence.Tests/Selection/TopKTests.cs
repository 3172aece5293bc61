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
        var selected = new TopK { Aggregation = ScoreAggregation.MeanRank }.Select(ExampleScores.Of([1, 2, 3], [-7, 0.5, 0.5]), SelectionBudget.Count(3));
        Assert.Equal([2, 3, 1], selected.Ids);
        Assert.Equal([2.5, 2.5, 1], selected.Utilities);
    }
}
