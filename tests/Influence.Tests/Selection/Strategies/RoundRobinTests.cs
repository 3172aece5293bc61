using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class RoundRobinTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new RoundRobin { Seed = seed };

    [Fact]
    public void QueriesTakeTurns()
    {
        using var scope = NewDisposeScope();
        using var scores = Scores(
            new float[,]
            {
                { 9, 8, 7, 0 },
                { 90, 80, 10, 20 },
            }
        );
        var selected = new RoundRobin().Select(scores, SelectionBudget.Fraction(1));
        Assert.Equal([10, 11, 12, 13], selected.Ids);
        Assert.Equal([9, 80, 7, 20], selected.Utilities);
    }

    /// <summary>RDS+: within a task the highest counts, then tasks take turns.</summary>
    [Fact]
    public void TasksTakeTurnsByTheirHighestScore()
    {
        using var scope = NewDisposeScope();
        using var scores = Scores(
            new float[,]
            {
                { 1, 0, 0, 3 },
                { 0, 2, 0, 0 },
                { 5, 5, 4, 1 },
            }
        );
        using var pool = new SelectionPool(scores) { Tasks = ExampleGroups.FromMembers(("a", [0, 1]), ("b", [2])) };
        Assert.Equal([13, 10, 11, 12], new RoundRobin().Select(pool, SelectionBudget.Fraction(1)).Ids);
        Assert.Equal(
            [13, 11, 10, 12],
            new RoundRobin { Turns = RoundRobin.Kind.Queries }
                .Select(pool, SelectionBudget.Fraction(1))
                .Ids
        );
    }

    /// <summary>Equal to sorting each row; scores of a few values, so that ties matter, and every part of every row is needed.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(40)]
    public void EqualsTheLoopOverSortedRows(int queries)
    {
        using var scope = NewDisposeScope();
        var random = new Random(queries);
        const int Candidates = 500;
        var values = new float[queries, Candidates];
        for (var i = 0; i < values.Length; i++)
        {
            values[i / Candidates, i % Candidates] = random.Next(20);
        }

        using var scores = Scores(values);
        var sorted = Enumerable
            .Range(0, queries)
            .Select(q => new Queue<int>(Enumerable.Range(0, Candidates).OrderByDescending(i => values[q, i])))
            .ToList();
        var expected = new List<long>();
        for (var turn = 0; expected.Count < Candidates; turn++)
        {
            var queue = sorted[turn % queries];
            while (expected.Contains(queue.Peek() + 10))
            {
                queue.Dequeue();
            }

            expected.Add(queue.Dequeue() + 10);
        }

        Assert.Equal(expected, new RoundRobin().Select(scores, SelectionBudget.Fraction(1)).Ids);
    }

    private static InfluenceScores Scores(float[,] values) =>
        new(
            tensor(values),
            [.. Enumerable.Range(0, values.GetLength(0))],
            [.. Enumerable.Range(10, values.GetLength(1))],
            new ScoreMetadata { Estimator = "made up", Unit = "loss" }
        );
}
