using Influence.Training;
using Xunit;

namespace Influence.Tests.Training;

public class ScoresOfRunsTests
{
    [Fact]
    public void MeansAndSumsGoByIdNotByPlace()
    {
        var (a, b) = (ExampleScores.Of([1, 2, 3], [1, 2, 3], "EL2N"), ExampleScores.Of([3, 1, 2], [5, 4, 0], "EL2N"));
        Assert.Equal([1, 2, 3], ExampleScores.Mean(a, b).Ids);
        Assert.Equal([2.5, 1, 4], ExampleScores.Mean(a, b).Values);
        Assert.Equal([5, 2, 8], ExampleScores.Sum(a, b).Values);
        Assert.StartsWith("sum over 2 runs", ExampleScores.Sum(a, b).Metadata.Notes, StringComparison.Ordinal);
        Assert.Equal(a.Values, ExampleScores.Mean(a).Values);
    }

    [Fact]
    public void SeveralRecorders()
    {
        using var first = new TrainingDynamics();
        using var second = new TrainingDynamics();
        Traces.Accuracies(first, 1, 1, 0, 1, 0);
        Traces.Accuracies(second, 1, 0, 0, 0, 0);
        TrainingDynamics[] runs = [first, second];
        Assert.Equal([6], ExampleScores.Sum([.. runs.Select(r => r.ForgettingEvents(neverLearnt: 4).Scores)]).Values);
        Assert.Equal((first.El2n(..2)[0] + second.El2n(..2)[0]) / 2, ExampleScores.Mean([.. runs.Select(r => r.El2n(..2))])[0], 1e-15);
    }

    [Fact]
    public void RunsThatDoNotCompare()
    {
        using var dynamics = new TrainingDynamics();
        Traces.Accuracies(dynamics, 1, 1, 0, 1, 0);
        var ranges = Assert.Throws<InfluenceException>(() => ExampleScores.Mean(dynamics.El2n(..2), dynamics.El2n(..3))).Message;
        Assert.Contains("presentations 0..2 and EL2N, presentations 0..3", ranges, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() =>
            ExampleScores.Sum(dynamics.ForgettingEvents(neverLearnt: 4).Scores, dynamics.ForgettingEvents().Scores)
        );

        var a = ExampleScores.Of([1, 2, 3], [1, 2, 3], "EL2N");
        Assert.Throws<InfluenceException>(() => ExampleScores.Mean());
        Assert.Contains(
            "EL2N, AUM",
            Assert.Throws<InfluenceException>(() => ExampleScores.Mean(a, ExampleScores.Of([1, 2, 3], [1, 2, 3], "AUM"))).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(
            [3, 4],
            Assert.Throws<InfluenceException>(() => ExampleScores.Mean(a, ExampleScores.Of([1, 2, 4], [1, 2, 3], "EL2N"))).ExampleIds
        );
    }
}
