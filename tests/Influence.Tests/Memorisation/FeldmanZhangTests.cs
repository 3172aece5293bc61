using Influence.Evaluation;
using Influence.Memorisation;
using Influence.Tests.Evaluation;
using Xunit;

namespace Influence.Tests.Memorisation;

public class FeldmanZhangTests
{
    /// <summary>The sheet's example: 63 of 70 right with the example, 12 of 30 without: 0.5 within 0.189, rounded to three digits
    /// there.</summary>
    [Fact]
    public void TheSheetsExample()
    {
        var masks = new bool[100, 1];
        var right = new double[100, 1];
        for (var run = 0; run < 100; run++)
        {
            masks[run, 0] = run < 70;
            right[run, 0] = run < 63 || run >= 88 ? 1 : 0;
        }

        var runs = Retraining.Result.Of(masks, right, higherIsBetter: true);
        var (id, estimate) = Assert.Single(new FeldmanZhang().Memorisation(runs).Examples);
        Assert.Equal(0, id);
        Assert.Equal(0.5, estimate.Value, 1e-12);
        Assert.Equal(0.189, estimate.Upper - estimate.Value, 5e-4);
    }

    /// <summary>Of a model that is linear in its data the influence is the weight, but for the draw of the other examples; with real
    /// numbers Welch's variance counts.</summary>
    [Fact]
    public void OfAnAdditiveModelItIsTheWeight()
    {
        var weights = new double[3, 3]
        {
            { 1, 0.1, -0.2 },
            { 0, 2, 0.3 },
            { 0.5, 0, 0 },
        };
        var subsets = Subsets.Half(EvaluationCases.Ids(3 * 8), 400, seed: 2);
        var wide = new double[3, 24];
        for (var q = 0; q < 3; q++)
        {
            for (var z = 0; z < 3; z++)
            {
                wide[q, z] = weights[q, z];
            }
        }

        var runs = EvaluationCases.Additive(wide, subsets, noise: 0.1);
        using var scores = new FeldmanZhang().Influence(runs);
        for (var q = 0; q < 3; q++)
        {
            for (var z = 0; z < 3; z++)
            {
                // Half-size subsets of 24: the others are in or out with a correlation of -1/23, and the draw of 400 adds a deviation of
                // about a tenth of the largest weight.
                Assert.Equal(weights[q, z], scores[q, z], 0.35);
            }
        }

        var memorised = new FeldmanZhang().Memorisation(runs);
        Assert.Equal(3, memorised.Examples.Count);
        Assert.Equal(1, memorised.Scores.Highest(1).Ids[0]);
        Assert.Equal(scores[1, 1], memorised.Examples[1].Memorisation.Value, 1e-12);
        var all = Enumerable.Range(0, runs.Count).ToLookup(run => runs.SubsetOf(run).Contains(1), run => -runs[run, 1]);
        double Error(IEnumerable<double> values) => MathNet.Numerics.Statistics.Statistics.Variance(values) / values.Count();
        Assert.Equal(
            1.959964 * Math.Sqrt(Error(all[true]) + Error(all[false])),
            memorised.Examples[1].Memorisation.Upper - memorised.Examples[1].Memorisation.Value,
            1e-5
        );
        Assert.Contains("interval above 0", memorised.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void TooFewRunsAreRefused()
    {
        var runs = EvaluationCases.Additive(EvaluationCases.Random(4, 4, 1), Subsets.Half(EvaluationCases.Ids(4), 12, seed: 1));
        Assert.Contains(
            "At least 10 runs with and 10 without",
            Assert.Throws<InfluenceException>(() => new FeldmanZhang().Memorisation(runs)).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new FeldmanZhang().Influence(runs));
        Assert.Equal(
            4,
            new FeldmanZhang { MinimumRuns = 2 }
                .Memorisation(runs)
                .Examples.Count
        );
        var foreign = Retraining.Result.Of(
            Subsets.Half(EvaluationCases.Ids(4), 2, seed: 1),
            [77],
            new double[,]
            {
                { 1 },
                { 2 },
            }
        );
        Assert.Contains(
            "own ids",
            Assert.Throws<InfluenceException>(() => new FeldmanZhang { MinimumRuns = 2 }.Memorisation(foreign)).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new FeldmanZhang { MinimumRuns = 1 });
    }
}
