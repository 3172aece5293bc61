using Influence.Evaluation;
using TorchSharp;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Scores against leaving examples out.</summary>
public class LeaveOneOutCorrelationTests
{
    /// <summary>
    /// Least squares on x = (1,0), (0,1), (1,1), y = (1, 2, 2), query (1,-1), 0. Scores are (1, -1, 0), so predicted rises are a
    /// third of that. Without a row the fit is exact on the other two: losses 1/2 r^2 with r = -2, 0, -1 against -1 for all
    /// three, which are rises of 1.5, -0.5 and 0.
    /// </summary>
    [Fact]
    public void LeastSquaresByHand()
    {
        using var scope = NewDisposeScope();
        var runs = Retraining.Result.Of(
            Subsets.LeaveOneOut([0, 1, 2]),
            [0],
            new[,]
            {
                { 0.5 },
                { 2 },
                { 0 },
                { 0.5 },
            }
        );
        using var scores = Scores(
            new[,]
            {
                { 1.0, -1, 0 },
            },
            leaveOneOutFactor: 1 / 3.0
        );

        var result = new LeaveOneOutCorrelation { Bootstrap = Quick }.Evaluate(scores, runs);

        Assert.Equal(3, result.Removals);
        Assert.Equal(1, result.Spearman.Value, 12);

        // Rises less their mean: (7/6, -5/6, -1/3); covariance with (1, -1, 0) is 2, squares 2 and 13/6.
        Assert.Equal(2 / Math.Sqrt(2 * 13 / 6.0), result.Pearson.Value, 12);

        // A slope of 1 per unit of score is one of 3 per predicted rise: each influence is a third of the truth, on average.
        Assert.Equal(3, result.Slope.Value, 12);
        Assert.Contains("slope, measured per predicted rise", result.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void RunsInAnyOrderAndOfGroupsAreJoinedById()
    {
        using var scope = NewDisposeScope();
        var weights = Random(3, 8, 1);
        using var scores = Scores(weights, leaveOneOutFactor: 1);
        var metric = new LeaveOneOutCorrelation { Bootstrap = Quick };
        var groups = ExampleGroups.FromMembers(("a", [0, 5]), ("b", [1]), ("c", [7, 2, 3]), ("d", [4, 0]));

        foreach (var subsets in new[] { Subsets.LeaveOneOut(Ids(8), [6, 2, 5, 0]), Subsets.Without(Ids(8), groups) })
        {
            var result = metric.Evaluate(scores, Additive(weights, subsets));

            // An additive model: the rise is the sum of what was left out, exactly up to rounding.
            Assert.Equal(1, result.Pearson.Value, 12);
            Assert.Equal(1, result.Spearman.Value, 12);
            Assert.Equal(1, result.Slope.Value, 10);
            Assert.Equal(4, result.Removals);
        }
    }

    [Fact]
    public void WithoutARunOnAllExamplesCorrelationsAreTheSame()
    {
        using var scope = NewDisposeScope();
        var weights = Random(1, 6, 1);
        using var scores = Scores(Random(1, 6, 2));
        var all = Subsets.LeaveOneOut(Ids(6));
        var part = Subsets.Of(Ids(6), [.. all.Skip(1).Select(s => (s.Name, (IEnumerable<long>)s.Ids))]);
        var metric = new LeaveOneOutCorrelation { Bootstrap = Quick };

        Assert.Equal(
            metric.Evaluate(scores, Additive(weights, all)).Pearson.Value,
            metric.Evaluate(scores, Additive(weights, part)).Pearson.Value,
            12
        );
    }

    [Fact]
    public void TooFewSubsetsAreRefused()
    {
        using var scope = NewDisposeScope();
        var weights = Random(1, 4, 1);
        using var scores = Scores(weights);

        var thrown = Assert.Throws<InfluenceException>(() =>
            new LeaveOneOutCorrelation().Evaluate(scores, Additive(weights, Subsets.LeaveOneOut(Ids(4), [1, 2])))
        );

        Assert.Contains("at least three; the runs have 2", thrown.Message, StringComparison.Ordinal);
    }
}
