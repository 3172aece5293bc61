using Influence.Evaluation;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>The linear datamodeling score on models whose truth is known.</summary>
public class LdsTests
{
    private const int Train = 24;
    private static readonly Subsets s_halves = Subsets.Half(Ids(Train), 40, seed: 3);

    [Fact]
    public void AnAdditiveModelScoresOneAndItsReverseMinusOne()
    {
        using var scope = NewDisposeScope();
        var weights = Random(5, Train, 1);
        var runs = Additive(weights, s_halves);
        using var right = Scores(weights);
        using var wrong = new InfluenceScores(right.Values.neg(), right.QueryIds, right.TrainIds, right.Metadata);
        var lds = new Lds { Bootstrap = Quick };

        // Both sides sum the same numbers; the orders of 40 sums without ties are then equal.
        Assert.All(lds.Evaluate(right, runs).Queries, q => Assert.Equal(1, q.Estimate.Value, 12));
        Assert.Equal(1, lds.Evaluate(right, runs).Mean.Lower, 12);
        Assert.All(lds.Evaluate(wrong, runs).Queries, q => Assert.Equal(-1, q.Estimate.Value, 12));
    }

    /// <summary>On subsets that each lack one piece of the data: sums over what was trained on rank as those over the piece,
    /// reversed.</summary>
    [Fact]
    public void AnAdditiveModelScoresOneOnDisjointChunks()
    {
        using var scope = NewDisposeScope();
        var weights = Random(5, Train, 1);
        var chunks = Subsets.Chunks(Ids(Train), 8, seed: 2);
        var runs = Additive(weights, chunks);
        using var right = Scores(weights);
        using var random = Scores(Random(5, Train, 2));
        var lds = new Lds { Bootstrap = Quick };

        Assert.All(lds.Evaluate(right, runs).Queries, q => Assert.Equal(1, q.Estimate.Value, 12));
        Assert.All(
            lds.Evaluate(random, runs).Queries,
            q =>
            {
                double[] rises = [.. Enumerable.Range(0, 8).Select(j => runs[j, (int)q.QueryId])];
                double[] lost = [.. chunks.Select(s => s.RemovedIds.Sum(id => random[(int)q.QueryId, (int)id]))];
                Assert.Equal(Spearman.Of(lost, rises), q.Estimate.Value, 12);
            }
        );
    }

    [Fact]
    public void RandomScoresAreZeroWithinTheInterval()
    {
        using var scope = NewDisposeScope();
        var runs = Additive(Random(60, Train, 1), s_halves);
        using var random = Scores(Random(60, Train, 2));

        var result = new Lds { Bootstrap = Quick }.Evaluate(random, runs);

        Assert.True(result.Mean.Contains(0), result.Mean.ToString());

        // Over queries the values spread by about 1/sqrt(M - 1) = 0.16.
        var spread = Math.Sqrt(result.Queries.Average(q => q.Estimate.Value * q.Estimate.Value));
        Assert.InRange(spread, 0.1, 0.25);
    }

    [Fact]
    public void ByHandWithTies()
    {
        using var scope = NewDisposeScope();

        // Subsets {0}, {1}, {0, 1}, {2}: predictions 1, 2, 3, 2; rewards 1, 3, 2, 2 (losses their negatives).
        var subsets = Subsets.Of([0, 1, 2], ("a", [0]), ("b", [1]), ("c", [0, 1]), ("d", [2]));
        var runs = Retraining.Result.Of(
            subsets,
            [7],
            new[,]
            {
                { -1.0 },
                { -3 },
                { -2 },
                { -2 },
            }
        );
        using var scores = Scores(
            new[,]
            {
                { 1.0, 2, 2 },
            },
            queryIds: [7]
        );

        var result = new Lds { Bootstrap = new() { Resamples = 0 } }.Evaluate(scores, runs);

        // Ranks 1, 2.5, 4, 2.5 and 1, 4, 2.5, 2.5: deviations (-1.5, 0, 1.5, 0) and (-1.5, 1.5, 0, 0); 2.25 / 4.5.
        Assert.Equal(0.5, result.Mean.Value, 12);
        Assert.Equal((7, result.Mean), Assert.Single(result.Queries));
        Assert.True(double.IsNaN(result.Mean.Lower));
    }

    [Fact]
    public void ScoresAndRunsAreJoinedByIdNotByOrder()
    {
        using var scope = NewDisposeScope();
        var weights = Random(3, Train, 1);
        var runs = Additive(weights, s_halves);
        var (order, queries) = (Ids(Train).Reverse().ToArray(), new long[] { 2, 0 });
        var shuffled = new double[2, Train];
        for (var q = 0; q < 2; q++)
        {
            for (var i = 0; i < Train; i++)
            {
                shuffled[q, i] = weights[queries[q], order[i]];
            }
        }

        using var scores = Scores(shuffled, queries, order);
        var result = new Lds { Bootstrap = Quick }.Evaluate(scores, runs);

        Assert.Equal(queries, result.Queries.Select(q => q.QueryId));
        Assert.Equal(1, result.Mean.Value, 12);
    }

    [Fact]
    public void ConstantAndBrokenColumnsAreCountedNotAveraged()
    {
        using var scope = NewDisposeScope();
        var weights = Random(4, Train, 1);
        for (var i = 0; i < Train; i++)
        {
            weights[1, i] = 0;
        }

        var runs = Additive(weights, s_halves);
        var values = Random(4, Train, 9);
        for (var i = 0; i < Train; i++)
        {
            (values[0, i], values[2, i]) = (weights[0, i], 0.1);
        }

        values[3, 5] = double.NaN;
        using var scores = Scores(values);
        var result = new Lds { Bootstrap = Quick }.Evaluate(scores, runs);

        Assert.Equal(1, result.Mean.Value, 12);
        Assert.Equal(
            [new(1, "every run measured the same"), new(2, "its scores sum to the same for every subset"), new(3, "a score is not finite")],
            result.Dropped
        );
        Assert.Contains("1 queries, 3 dropped (query 1: every run measured the same; ...)", result.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void MeasurementsThatAreNotFiniteAreNamed()
    {
        using var scope = NewDisposeScope();
        var subsets = Subsets.Half(Ids(6), 4, seed: 1);
        var losses = Random(4, 2, 3);
        losses[2, 1] = double.NaN;
        var runs = Retraining.Result.Of(subsets, [10, 11], losses);
        using var scores = Scores(Random(2, 6, 4), queryIds: [10, 11]);

        Assert.Equal([(2, 11L)], runs.NotFinite);
        Assert.Contains("1 measurements are not finite, the first of query 11 in run 2", runs.ToString(), StringComparison.Ordinal);
        Assert.Equal(
            [(11, "a run's measurement is not finite")],
            new Lds { Bootstrap = Quick }
                .Evaluate(scores, runs)
                .Dropped
        );
    }

    [Fact]
    public void TheNoiseCeilingFollowsFromTheSeeds()
    {
        var weights = Random(30, Train, 1);
        var lds = new Lds { Bootstrap = Quick };

        Assert.Null(lds.Ceiling(Additive(weights, s_halves)));
        Assert.Equal(1, lds.Ceiling(Additive(weights, s_halves, seeds: 3))!.Attainable.Value, 12);

        using var scope = NewDisposeScope();
        var noisy = Additive(weights, s_halves, seeds: 4, noise: 2);
        using var truth = Scores(weights);
        var result = lds.Evaluate(truth, noisy);

        // Scores that know the truth reach what the ceiling says is attainable, to the spread of 30 queries.
        Assert.InRange(result.Ceiling!.HalfAgreement.Value, 0.1, 0.9);
        Assert.Equal(result.Ceiling.Attainable.Value, result.Mean.Value, 0.05);
        Assert.True(result.Ceiling.Attainable.Contains(result.Ceiling.Attainable.Value));
    }

    [Fact]
    public void TheSameSeedGivesTheSameIntervalAndAnotherAnother()
    {
        using var scope = NewDisposeScope();
        var runs = Additive(Random(5, Train, 1), s_halves, noise: 1);
        using var scores = Scores(Random(5, Train, 1));

        var (a, b, c) = (Mean(5), Mean(5), Mean(6));

        Assert.Equal(a, b);
        Assert.NotEqual(a.Lower, c.Lower);
        Assert.True(a.Lower < a.Value && a.Value < a.Upper);

        Estimate Mean(long seed) =>
            new Lds { Bootstrap = Quick with { Seed = seed } }
                .Evaluate(scores, runs)
                .Mean;
    }

    [Fact]
    public void IdsThatDoNotMeetAreRefused()
    {
        using var scope = NewDisposeScope();
        var runs = Additive(Random(2, Train, 1), s_halves);
        using var other = Scores(Random(2, Train, 1), queryIds: [0, 9], trainIds: Ids(Train, first: 1));

        var thrown = Assert.Throws<InfluenceException>(() => new Lds().Evaluate(other, runs));

        Assert.Contains("examples that have no score: ids 0", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("did not measure these queries of the scores: ids 9", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>The fast weighted ranks against the plain ones on rows that are written out.</summary>
    [Fact]
    public void ResampledRanksAreThoseOfRowsWrittenOut()
    {
        double[] x = [3, 1, 1, 2, 5, 2],
            y = [1, 4, 2, 2, 9, 7];
        int[] counts = [2, 0, 3, 1, 0, 2];
        var rows = counts.SelectMany((count, i) => Enumerable.Repeat(i, count)).ToArray();

        Assert.Equal(
            Spearman.Of([.. rows.Select(i => x[i])], [.. rows.Select(i => y[i])]),
            new PairedColumn(x, y).Of(Agreement.Spearman, counts),
            12
        );
        Assert.Equal(Spearman.Of(x, y), new PairedColumn(x, y).Of(Agreement.Spearman), 12);
        Assert.Equal(MathNet.Numerics.Statistics.Correlation.Pearson(x, y), new PairedColumn(x, y).Of(Agreement.Pearson), 12);
        Assert.Equal(2, new PairedColumn([1, 2, 4], [3, 5, 9]).Of(Agreement.Slope), 12);
    }

    [Fact]
    public void ComparedScoresShareTheirResamples()
    {
        using var scope = NewDisposeScope();
        var weights = Random(20, Train, 1);
        var runs = Additive(weights, s_halves, noise: 1);
        using var truth = Scores(weights);
        using var random = Scores(Random(20, Train, 2));
        using var half = new InfluenceScores(truth.Values + random.Values, truth.QueryIds, truth.TrainIds, truth.Metadata);
        var comparison = new ScoreComparison { Bootstrap = Quick };

        var result = comparison.Evaluate(runs, ("truth", truth), ("half", half), ("the same", truth));

        Assert.Equal(
            new Lds { Bootstrap = Quick }
                .Evaluate(half, runs)
                .Mean,
            result.Scores[1].Lds
        );
        Assert.True(result.Scores[1].Difference.Upper < 0, result.ToString());
        Assert.Equal(0, result.Scores[1].ShareBetter);
        Assert.Equal(new Estimate(0, 0, 0), result.Scores[2].Difference);
        Assert.Equal(20, result.QueryCount);

        // Paired, the difference is known better than either score.
        var unpaired =
            (result.Scores[0].Lds.Upper - result.Scores[0].Lds.Lower) + (result.Scores[1].Lds.Upper - result.Scores[1].Lds.Lower);
        Assert.True(result.Scores[1].Difference.Upper - result.Scores[1].Difference.Lower < unpaired);
    }

    [Theory]
    [InlineData("scores.npy")]
    [InlineData("scores.safetensors")]
    public void ScoresOfOtherToolsComeFromFiles(string name)
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        var weights = Random(3, Train, 1);
        using (var made = Scores(weights))
        {
            made.Save(folder.Path(name));
        }

        using var read = InfluenceScores.Load(folder.Path(name));
        Assert.Equal(
            1,
            new Lds { Bootstrap = Quick }
                .Evaluate(read, Additive(weights, s_halves))
                .Mean.Value,
            12
        );
    }
}
