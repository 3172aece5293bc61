using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class RandomSelectionTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new RandomSelection { Seed = seed };

    [Fact]
    public void EveryCandidateIsDrawnAsOften()
    {
        using var pool = new SelectionPool([.. Enumerable.Range(0, 10).Select(i => (long)i)]);
        var drawn = new int[10];
        for (var seed = 0; seed < 2000; seed++)
        {
            foreach (
                var id in new RandomSelection { Seed = seed }
                    .Select(pool, SelectionBudget.Count(3))
                    .Ids
            )
            {
                drawn[id]++;
            }
        }

        // 600 on average, with a standard deviation of sqrt(2000 * 0.3 * 0.7) = 20.5; four of them.
        Assert.All(drawn, count => Assert.InRange(count, 518, 682));
    }

    [Fact]
    public void ASmallerBudgetIsAFirstPart()
    {
        using var pool = new SelectionPool([.. Enumerable.Range(0, 50).Select(i => (long)i)]);
        var more = new RandomSelection().Select(pool, SelectionBudget.Count(20)).Ids;
        Assert.Equal(more.Take(7), new RandomSelection().Select(pool, SelectionBudget.Count(7)).Ids);
    }
}
