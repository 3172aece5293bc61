using Influence.Evaluation;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>The query loss difference on models whose retraining is known in closed form.</summary>
public class QldTests
{
    [Fact]
    public void ByHand()
    {
        using var scope = NewDisposeScope();
        var weights = new double[,]
        {
            { 4, -3, 2, 1, 0, -1, -2, 3, 5, -4 },
            { 1, 1, 1, 1, 1, 1, 1, 1, 1, 9 },
        };
        using var scores = Scores(weights);
        var qld = new Qld
        {
            Share = 0.2,
            RandomRepeats = 4,
            Bootstrap = Quick,
        };
        var plan = qld.Plan(scores);
        Assert.Equal((2, 1 + 2 + 4), (plan.Count, plan.Subsets.Count));
        Assert.Equal([0L, 8], plan.Subsets[1].RemovedIds);

        // A tie goes to the lowest id.
        Assert.Equal([0L, 9], plan.Subsets[2].RemovedIds);
        var result = qld.Evaluate(plan, Additive(weights, plan.Subsets));
        Assert.Equal([9, 10], result.Queries.Select(c => Math.Round(c.Removed, 10)));
        Assert.Equal(9.5, result.Mean.Value, 10);
        double[] random =
        [
            .. Enumerable.Range(0, 2).Select(q => plan.Subsets.Skip(3).Average(s => s.RemovedIds.Sum(id => weights[q, id]))),
        ];
        Assert.Equal(random, result.Queries.Select(c => Math.Round(c.AtRandom, 10)));
        Assert.Equal(random.Average(), result.MeanAtRandom.Value, 10);
        Assert.Equal(9.5 - random.Average(), result.Gap.Value, 10);

        // Two queries drawn twice: one of their means.
        Assert.Equal((9.0, 10.0), (Math.Round(result.Mean.Lower, 8), Math.Round(result.Mean.Upper, 8)));
        Assert.All(plan.Subsets.Skip(3), s => Assert.Equal(8, s.Count));
        Assert.Contains("QLD of test: 2 of 10 examples left out; 2 queries, 0 dropped", result.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, new Qld().Plan(scores).Count);
    }

    [Fact]
    public void RetrainedWithTheHarness()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();

        // The model is the mean of its examples plus a start that depends on the seed; a query's loss its squared distance.
        double[] data = [.. Enumerable.Range(0, 50).Select(i => Math.Sin(i * i))];
        double[] queries = [-1.5, 2, 0.1];
        double Loss(IEnumerable<long> ids, long seed, int q) => Math.Pow(ids.Average(id => data[id]) + (0.1 * seed) - queries[q], 2);
        var values = new double[3, 50];
        for (var q = 0; q < 3; q++)
        {
            for (var i = 0; i < 50; i++)
            {
                values[q, i] = Loss(Ids(50).Where(id => id != i), 0, q) - Loss(Ids(50), 0, q);
            }
        }

        using var scores = Scores(values);
        using var reversed = Scores(Negated(values));
        var qld = new Qld
        {
            Share = 0.1,
            RandomRepeats = 5,
            Bootstrap = Quick,
        };
        var (right, wrong) = (Run(qld, scores, "right"), Run(qld, reversed, "wrong"));
        var removed = qld.Plan(scores).Subsets;
        for (var q = 0; q < 3; q++)
        {
            var expected = new[] { 0L, 1 }.Average(seed => Loss(removed[q + 1].Ids, seed, q) - Loss(Ids(50), seed, q));
            Assert.Equal(expected, right.Queries[q].Removed, 12);
        }

        Assert.True(right.Gap.Lower > 0, right.ToString());
        Assert.True(wrong.Gap.Upper < 0, wrong.ToString());

        Qld.Result Run(Qld method, InfluenceScores by, string name)
        {
            var plan = method.Plan(by);
            var runs = new Retraining(folder.Path(name)) { Seeds = [0, 1], Settings = "mean" }.Run(
                plan.Subsets,
                by.QueryIds,
                job => [.. Enumerable.Range(0, 3).Select(q => Loss(job.Ids, job.Seed, q))]
            );
            return method.Evaluate(plan, runs);
        }
    }

    [Fact]
    public void BadInput()
    {
        using var scope = NewDisposeScope();
        var weights = Random(2, 10, 1);
        using var scores = Scores(weights);
        var qld = new Qld { Bootstrap = Quick };
        var plan = qld.Plan(scores);
        Assert.Contains(
            "plan.Subsets",
            Message(() =>
                qld.Evaluate(
                    plan,
                    Additive(
                        weights,
                        new Qld { Share = 0.3 }
                            .Plan(scores)
                            .Subsets
                    )
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Contains("is all of them", Message(() => new Qld { Share = 0.99 }.Plan(scores)), StringComparison.Ordinal);
        Assert.Contains("Share is between 0 and 1", Message(() => new Qld { Share = 1 }), StringComparison.Ordinal);
        Assert.Contains(
            "did not measure query 1",
            Message(() => qld.Evaluate(plan, Additive(Random(1, 10, 1), plan.Subsets))),
            StringComparison.Ordinal
        );

        weights[1, 4] = double.NaN;
        var result = qld.Evaluate(plan, Additive(weights, plan.Subsets));
        Assert.Equal([(1, "a run's measurement is not finite")], result.Dropped);
        Assert.Equal(0, Assert.Single(result.Queries).QueryId);
        using var broken = Scores(weights);
        Assert.Contains("query 1", Message(() => qld.Plan(broken)), StringComparison.Ordinal);
    }

    private static string Message(Func<object> call) => Assert.Throws<InfluenceException>(() => _ = call()).Message;

    private static double[,] Negated(double[,] values)
    {
        var negated = new double[values.GetLength(0), values.GetLength(1)];
        for (var r = 0; r < values.GetLength(0); r++)
        {
            for (var c = 0; c < values.GetLength(1); c++)
            {
                negated[r, c] = -values[r, c];
            }
        }

        return negated;
    }
}
