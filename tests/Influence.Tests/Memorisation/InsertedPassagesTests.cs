using Influence.Memorisation;
using Influence.Tests.Evaluation;
using Xunit;

namespace Influence.Tests.Memorisation;

public class InsertedPassagesTests
{
    [Fact]
    public void PassagesAreDealtEvenlyWhateverTheirOrder()
    {
        var inserted = new InsertedPassages
        {
            Counts = [0, 1, 4],
            Phases = 2,
            Seed = 3,
        };
        var ids = EvaluationCases.Ids(60, first: 100);
        var dealt = inserted.Assign(ids);
        Assert.Equal(ids, dealt.Select(i => i.Id));
        Assert.All(dealt.GroupBy(i => (i.Count, i.Phase)), group => Assert.Equal(10, group.Count()));
        Assert.Equal(dealt.OrderBy(i => i.Id), inserted.Assign([.. ids.Reverse()]).OrderBy(i => i.Id));
        Assert.NotEqual(dealt, (inserted with { Seed = 4 }).Assign(ids));
        Assert.Throws<InfluenceException>(() => inserted.Assign(EvaluationCases.Ids(5)));
        Assert.Throws<InfluenceException>(() => new InsertedPassages { Counts = [1] });
        Assert.Throws<InfluenceException>(() => new InsertedPassages { Counts = [1, 1] });
    }

    /// <summary>Losses that fall with the count by a rule: the means of the levels are the rule's, and the correlation is -1 in
    /// ranks.</summary>
    [Fact]
    public void LevelsHaveTheirMeans()
    {
        var inserted = new InsertedPassages
        {
            Counts = [0, 1, 4],
            Phases = 2,
            Bootstrap = EvaluationCases.Quick,
        };
        var dealt = inserted.Assign(EvaluationCases.Ids(60));
        var result = inserted.Evaluate(
            dealt,
            ExampleScores.Of([.. dealt.Select(i => i.Id)], [.. dealt.Select(i => 5 - i.Count + (i.Count == 0 ? 0 : -0.1 * i.Phase))])
        );
        Assert.Equal(
            [(0, 0, 20), (1, 0, 10), (1, 1, 10), (4, 0, 10), (4, 1, 10)],
            result.Levels.Select(l => (l.Count, l.Phase, l.Passages))
        );
        double[] means = [5, 4, 3.9, 1, 0.9];
        Assert.All(means.Zip(result.Levels), pair => Assert.Equal(pair.First, pair.Second.Loss.Value, 1e-12));
        Assert.True(result.CountCorrelation < -0.95 && result.PhaseCorrelation < 0);
        Assert.Contains("inserted", result.ToString(), StringComparison.Ordinal);
        Assert.Contains(
            "these have none",
            Assert.Throws<InfluenceException>(() => inserted.Evaluate(dealt, ExampleScores.Of([0], [1]))).Message,
            StringComparison.Ordinal
        );
    }
}
