using Influence.Evaluation;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Factors and residuals of runs whose truth is known.</summary>
public class ScoreCalibrationTests
{
    private const int Train = 40;
    private static readonly Subsets s_chunks = Subsets.Chunks(Ids(Train), 20, seed: 1);

    [Fact]
    public void AnAdditiveModelGivesBackItsFactor()
    {
        using var scope = NewDisposeScope();
        var weights = Random(6, Train, 1);
        using var third = Scores(Times(weights, 1 / 3.0));
        var calibration = new ScoreCalibration { Bootstrap = Quick };

        // With a run on all examples and without one, and for random halves.
        foreach (var subsets in new[] { s_chunks, Subsets.LeaveOneOut(Ids(Train)), Subsets.Half(Ids(Train), 10, seed: 2) })
        {
            var result = calibration.Evaluate(third, Additive(weights, subsets));

            Assert.Equal(3, result.Factor.Value, 10);
            Assert.Equal(3, result.Factor.Lower, 10);
            Assert.Equal(0, result.ResidualDeviation.Value, 1e-6);
            Assert.Equal(-1.5, result.Interval(-0.5).Value, 10);
        }
    }

    [Fact]
    public void ByHand()
    {
        using var scope = NewDisposeScope();

        // Removed sums 1, 2, 3, rises 2, 3, 7: c = (2 + 6 + 21) / 14, residuals over 3 - 1.
        var subsets = Subsets.LeaveOneOut([0, 1, 2]);
        var runs = Retraining.Result.Of(
            subsets,
            [7],
            new[,]
            {
                { 10.0 },
                { 12 },
                { 13 },
                { 17 },
            }
        );
        using var scores = Scores(
            new[,]
            {
                { 1.0, 2, 3 },
            },
            queryIds: [7]
        );

        var result = new ScoreCalibration { Bootstrap = new() { Resamples = 0 } }.Evaluate(scores, runs);

        var c = 29 / 14.0;
        var deviation = Math.Sqrt((Math.Pow(2 - c, 2) + Math.Pow(3 - (2 * c), 2) + Math.Pow(7 - (3 * c), 2)) / 2);
        Assert.Equal(c, result.Factor.Value, 12);
        Assert.Equal(deviation, result.ResidualDeviation.Value, 12);
        Assert.Equal((5 * c) + (2 * deviation), result.Interval(5).Upper, 12);
        Assert.Equal((5 * c) - (2 * deviation), result.Interval(5).Lower, 12);
        Assert.True(double.IsNaN(result.Factor.Lower));
        Assert.Contains("Calibration of test: 3 subsets, 1 queries, 0 dropped", result.ToString(), StringComparison.Ordinal);
    }

    /// <summary>The noise is a sum of three uniform numbers: its standard deviation is half its size.</summary>
    [Fact]
    public void TheResidualIsTheNoise()
    {
        using var scope = NewDisposeScope();
        var weights = Random(30, Train, 1);
        using var scores = Scores(Times(weights, 0.5));
        using var random = Scores(Random(30, Train, 2));
        var noisy = Additive(weights, s_chunks, noise: 0.4);
        var calibration = new ScoreCalibration { Bootstrap = Quick };

        var result = calibration.Evaluate(scores, noisy);

        Assert.True(result.Factor.Contains(2), result.Factor.ToString());
        Assert.InRange(result.Factor.Upper - result.Factor.Lower, 0.01, 0.6);
        Assert.Equal(0.2, result.ResidualDeviation.Value, 0.02);
        Assert.True(calibration.Evaluate(random, noisy).Factor.Contains(0));

        // The interval holds about 95 percent of what other runs measure.
        var other = Additive(weights, s_chunks, noise: 0.4, noiseSeed: 9);
        var (inside, all) = (0, 0);
        for (var q = 0; q < 30; q++)
        {
            var whole = 3 - Enumerable.Range(0, Train).Sum(i => weights[q, i]);
            for (var j = 0; j < s_chunks.Count; j++)
            {
                inside += result.Interval(s_chunks[j].RemovedIds.Sum(id => 0.5 * weights[q, id])).Contains(other[j, q] - whole) ? 1 : 0;
                all++;
            }
        }

        Assert.InRange((double)inside / all, 0.92, 0.99);
    }

    [Fact]
    public void IdsThatDoNotMeetAndTooFewSubsetsAreRefused()
    {
        using var scope = NewDisposeScope();
        var weights = Random(2, Train, 1);
        using var scores = Scores(weights);
        using var other = Scores(weights, trainIds: Ids(Train, first: 1));

        Assert.Contains("have no score: ids 0", Refused(other, Additive(weights, s_chunks)), StringComparison.Ordinal);
        Assert.Contains(
            "at least three",
            Refused(scores, Additive(weights, Subsets.Chunks(Ids(Train), 2, seed: 0))),
            StringComparison.Ordinal
        );

        static string Refused(InfluenceScores scores, Retraining.Result runs) =>
            Assert.Throws<InfluenceException>(() => new ScoreCalibration().Evaluate(scores, runs)).Message;
    }

    private static double[,] Times(double[,] values, double factor)
    {
        var product = (double[,])values.Clone();
        for (var i = 0; i < values.GetLength(0); i++)
        {
            for (var j = 0; j < values.GetLength(1); j++)
            {
                product[i, j] *= factor;
            }
        }

        return product;
    }
}
