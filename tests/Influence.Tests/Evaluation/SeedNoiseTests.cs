using Influence.Evaluation;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Runs that are noise, runs that are not, and runs that cannot tell.</summary>
public sealed class SeedNoiseTests
{
    private const int Train = 10;
    private const int Queries = 5;
    private static readonly long[] s_ids = [.. Enumerable.Range(0, Train).Select(i => (long)i)];

    [Theory]
    [InlineData(0.0, 4, "")]
    [InlineData(1000.0, 4, "the truth is noise")]
    [InlineData(0.0, 1, "one seed")]
    public void LeavingOut(double noise, int seeds, string expected)
    {
        var result = new LeaveOneOutCorrelation { Bootstrap = new Bootstrap { Resamples = 200 } }.Evaluate(Scores(), Runs(noise, seeds));
        AssertNote(expected, result.TruthNote, result.ToString());
        Assert.Equal(seeds > 1, result.Ceiling is not null);
    }

    [Theory]
    [InlineData(0.0, 4, "")]
    [InlineData(1000.0, 4, "the truth is noise")]
    [InlineData(0.0, 1, "one seed")]
    public void Halves(double noise, int seeds, string expected)
    {
        var result = new Lds { Bootstrap = new Bootstrap { Resamples = 200 } }.Evaluate(Scores(), Runs(noise, seeds));
        AssertNote(expected, result.TruthNote, result.ToString());
    }

    /// <summary>
    /// 4 seeds whose halves agree by 0.2 with a lower end of -0.1: one seed is worth 0.2/1.8 = 1/9, and halves of n seeds agree by 0.3 at
    /// n = 2 * 0.3 (8/9) / (1/9 * 0.7) = 6.86, so 3 more.
    /// </summary>
    [Fact]
    public void TheNumberOfSeedsByHand()
    {
        var ceiling = new Lds.NoiseCeiling(new Estimate(0.2, -0.1, 0.5), new Estimate(0.5, 0, 0.8));
        Assert.Contains("add about 3 seeds", SeedNoise.Note(Runs(1, 4), ceiling), StringComparison.Ordinal);
        var none = new Lds.NoiseCeiling(new Estimate(-0.05, -0.3, 0.3), new Estimate(0, 0, 0.8));
        Assert.Contains("add 4 seeds and look again", SeedNoise.Note(Runs(1, 4), none), StringComparison.Ordinal);
    }

    private static void AssertNote(string expected, string note, string table)
    {
        Assert.Equal(expected.Length == 0, note.Length == 0);
        Assert.Contains(expected, note, StringComparison.Ordinal);
        Assert.Contains(expected, table, StringComparison.Ordinal);
        Assert.True(expected.Length == 0 || note.Contains("add", StringComparison.Ordinal));
    }

    private static InfluenceScores Scores()
    {
        random.manual_seed(1);
        return new InfluenceScores(
            Truth(),
            [.. Enumerable.Range(0, Queries).Select(q => (long)q)],
            s_ids,
            new ScoreMetadata { Estimator = "truth", Unit = "loss" }
        );
    }

    private static Tensor Truth()
    {
        random.manual_seed(1);
        return randn([Queries, Train], dtype: float64);
    }

    /// <summary>The rise is the score itself, and noise of its own in every run.</summary>
    private static Retraining.Result Runs(double noise, int seeds)
    {
        using var scope = NewDisposeScope();
        var (subsets, truth, random) = (Subsets.LeaveOneOut(s_ids), Truth(), new Random(5));
        var losses = new double[subsets.Count * seeds, Queries];
        for (var run = 0; run < subsets.Count * seeds; run++)
        {
            for (var q = 0; q < Queries; q++)
            {
                var left = s_ids.Where(id => !subsets[run / seeds].Contains((int)id)).Sum(id => truth[q, id].item<double>());
                losses[run, q] = left + (noise * (random.NextDouble() - 0.5));
            }
        }

        return Retraining.Result.Of(
            subsets,
            [.. Enumerable.Range(0, Queries).Select(q => (long)q)],
            losses,
            [.. Enumerable.Range(0, seeds).Select(s => (long)s)]
        );
    }
}
