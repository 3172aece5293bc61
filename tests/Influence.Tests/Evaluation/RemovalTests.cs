using Influence.Evaluation;
using TorchSharp;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Removal curves and brittleness on models that are linear in their data.</summary>
public class RemovalTests
{
    [Fact]
    public void RemovalCurvesByHand()
    {
        using var scope = NewDisposeScope();
        var weights = new double[,]
        {
            { 4, -3, 2, 1, 0, -1, -2, 3, 5, -4 },
        };
        using var scores = Scores(weights);
        var curve = new RemovalCurve
        {
            Shares = [0.1, 0.2, 0.4],
            RandomRepeats = 2,
            Keep = true,
            Bootstrap = Quick,
        };
        var plan = curve.Plan(("truth", scores));
        var result = curve.Evaluate(plan, Additive(weights, plan.Subsets));

        Assert.Equal([5, 9, 14], Rises("truth", RemovalCurve.Kind.RemoveProponents));
        Assert.Equal([-4, -7, -10], Rises("truth", RemovalCurve.Kind.RemoveOpponents));

        // Kept 5, 9 and 14 of the sum of 5.
        Assert.Equal([0, -4, -9], Rises("truth", RemovalCurve.Kind.KeepProponents));
        Assert.Equal([1, 2, 4], result.Points.Where(p => p.Kind == RemovalCurve.Kind.RemoveProponents).Select(p => p.Examples));

        // Gaps between the curves: 0, 9, 16, 24 at 0, 0.1, 0.2, 0.4; trapezoids over 0.4.
        var between = Assert.Single(result.Areas, a => a.Against == RemovalCurve.Kind.RemoveOpponents);
        Assert.Equal(((0.1 * 9 / 2) + (0.1 * 25 / 2) + (0.2 * 40 / 2)) / 0.4, between.Area.Value, 10);

        // Whatever random examples do, the largest weights do more.
        Assert.All(result.Areas, a => Assert.True(a.Area.Value > 0, a.ToString()));
        Assert.Equal(4, result.Areas.Count);

        double[] Rises(string method, RemovalCurve.Kind kind) =>
            [.. result.Points.Where(p => p.Method == method && p.Kind == kind).Select(p => Math.Round(p.Rise.Value, 10))];
    }

    [Fact]
    public void MethodsShareTheBaselineAndRandomScoresAreNoBetter()
    {
        using var scope = NewDisposeScope();
        var weights = Random(40, 30, 1);
        using var truth = Scores(weights);
        using var random = Scores(Random(40, 30, 2));
        var curve = new RemovalCurve { Shares = [0.1, 0.3], Bootstrap = Quick };
        var plan = curve.Plan(("truth", truth), ("noise", random));

        // All, two methods with two kinds, three random draws, at two shares.
        Assert.Equal(1 + (2 * ((2 * 2) + 3)), plan.Subsets.Count);
        var result = curve.Evaluate(plan, Additive(weights, plan.Subsets));
        Assert.True(result.Areas.First(a => a.Method == "truth").Area.Value > result.Areas.First(a => a.Method == "noise").Area.Value);
        Assert.Single(result.Points, p => p.Kind == RemovalCurve.Kind.RemoveRandom && p.Share == 0.1);
    }

    [Fact]
    public void RunsOfAnotherPlanAreRefused()
    {
        using var scope = NewDisposeScope();
        var weights = Random(2, 10, 1);
        using var scores = Scores(weights);
        var curve = new RemovalCurve { Shares = [0.2] };
        var plan = curve.Plan(("a", scores));
        var runs = Additive(weights, (curve with { Seed = 1 }).Plan(("a", scores)).Subsets);
        Assert.Contains(
            "plan.Subsets",
            Assert.Throws<InfluenceException>(() => curve.Evaluate(plan, runs)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "0.01 of 10 examples",
            Assert.Throws<InfluenceException>(() => new RemovalCurve { Shares = [0.01] }.Plan(("a", scores))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void BrittlenessByHand()
    {
        using var scope = NewDisposeScope();

        // Wrong when the sum over the subset is below 3. Query 0 (sum 5) flips without its 3; query 1 (sum 8) without 5 and 3;
        // query 2 (sum 10) needs four ones less than eight; query 3 is wrong from the start.
        var weights = new double[,]
        {
            { 3, 1, 1, 0, 0, 0, 0, 0, 0, 0 },
            { 0, 5, 3, 0, 0, 0, 0, 0, 0, 0 },
            { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
            { 1, 0, 0, 0, 0, 0, 0, 0, 0, -9 },
        };
        using var scores = Scores(weights);
        var test = new BrittlenessTest
        {
            Counts = [1, 2, 4],
            RandomRepeats = 4,
            Bootstrap = Quick,
        };
        var plan = test.Plan(scores);
        var result = test.Evaluate(plan, Additive(weights, plan.Subsets));

        Assert.Equal([(0, 1), (1, 2), (2, null)], result.Fewest);
        Assert.Equal([1 / 3.0, 2 / 3.0, 2 / 3.0], result.Points.Select(p => p.Flipped.Value));
        Assert.Equal([(3, "it is predicted wrong with all examples")], result.Dropped);
        Assert.Equal(1 + (4 * 3) + (4 * 3), plan.Subsets.Count);

        // An opponent is never taken for a proponent, whatever the count.
        Assert.Equal([0], plan.Subsets.Single(s => s.Name == "query 3 without 4 proponents").RemovedIds);
        Assert.All(result.Points, p => Assert.InRange(p.FlippedAtRandom.Value, 0, p.Flipped.Value));
    }
}
