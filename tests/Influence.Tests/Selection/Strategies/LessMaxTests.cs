using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class LessMaxTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new LessMax { Seed = seed };

    /// <summary>The mean within task a (queries 7 and 9), the single query of task b, then the higher of the two.</summary>
    [Fact]
    public void TakesTheMeanInATaskAndTheHighestOverTasks()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new double[,]
                {
                    { 4, 0, 1, 0 },
                    { 0, 3, 0, 0.5 },
                    { -2, 0, 3, 0 },
                }
            ),
            [7, 8, 9],
            [10, 20, 30, 40],
            new ScoreMetadata { Estimator = "made up", Unit = "loss" }
        );
        using var pool = new SelectionPool(scores) { Tasks = ExampleGroups.FromMembers(("a", [7, 9]), ("b", [8])) };
        var selected = new LessMax().Select(pool, SelectionBudget.Fraction(1));
        Assert.Equal([20, 30, 10, 40], selected.Ids);
        Assert.Equal([3, 2, 1, 0.5], selected.Utilities);
        Assert.Equal("Highest for its task: a 2, b 2.", Assert.Single(selected.Notes));
        Assert.Equal(
            selected.Ids,
            new TopK { Aggregation = ScoreAggregation.MaxOverTasks }
                .Select(pool, SelectionBudget.Fraction(1))
                .Ids
        );
    }

    [Fact]
    public void WithoutTasksEachQueryIsOne()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new float[,]
                {
                    { 4, 0, 1 },
                    { 0, 3, 5 },
                }
            ),
            [0, 1],
            [1, 2, 3],
            new ScoreMetadata { Estimator = "made up", Unit = "loss" }
        );
        Assert.Equal([3, 1, 2], new LessMax().Select(scores, SelectionBudget.Count(3)).Ids);
    }
}
