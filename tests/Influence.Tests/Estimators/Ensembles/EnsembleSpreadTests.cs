using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>What members of an ensemble disagree about, against sums over all of them.</summary>
public class EnsembleSpreadTests
{
    [Fact]
    public void TheWorkedExample()
    {
        double[] pair = [1, 1.4, 0.9, 1.2, 1.5];
        using var scores = InfluenceEnsemble.Result.Of(
            Members([
                .. pair.Select(
                    (v, m) =>
                        new[,]
                        {
                            { v, m - 2.0, 0 },
                        }
                ),
            ]),
            InfluenceEnsemble.Kind.SeparateRuns,
            topK: 1
        );
        Assert.Equal(1.2, scores.Mean[0, 0], 12);
        Assert.Equal(Math.Sqrt(0.065), scores.StandardDeviations[0, 0].item<double>(), 12);
        Assert.Equal(Math.Sqrt(0.065 / 5), scores.StandardError(0, 0), 12);
        var (lower, upper) = scores.Interval(0, 0);
        Assert.Equal(0.3165, (upper - lower) / 2, 3e-4);
        Assert.Equal(1.2, (upper + lower) / 2, 12);

        // Signs: all; two of each and a zero; zeros alone.
        Assert.Equal([1, 0.4, 0], scores.SignAgreements.data<double>().ToArray());

        // The first column is highest in members 0 to 3 (1 > -2, 1.4 > -1, 0.9 > 0, 1.2 > 1), the second in member 4 (2 > 1.5): 6 of 10
        // pairs agree.
        Assert.Equal([0.6], scores.TopOverlaps);
        var stable = Assert.Single(scores.StablePairs());
        Assert.Equal((1, 0L, 0L, 1.0), (stable.Rank, stable.QueryId, stable.TrainId, stable.SignAgreement));
        Assert.Equal((lower, upper), (stable.Lower, stable.Upper));
        Assert.Contains("1 of 3 pairs are stable over 5 members at 95%", scores.StablePairs().ToString(), StringComparison.Ordinal);
        Assert.Contains("5 members (separate runs)", scores.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void ManyMembersAreAsTwoPassesSayAndLargeOffsetsDoNotHarm()
    {
        var random = new Random(3);
        double[][,] members =
        [
            .. Enumerable
                .Range(0, 7)
                .Select(_ =>
                {
                    var values = new double[3, 20];
                    for (var q = 0; q < 3; q++)
                    {
                        for (var i = 0; i < 20; i++)
                        {
                            values[q, i] = (q == 0 ? 1e8 : 0.3 * (i % 3)) + random.NextDouble() - 0.5;
                        }
                    }

                    return values;
                }),
        ];
        using var scores = InfluenceEnsemble.Result.Of(Members(members), InfluenceEnsemble.Kind.SeparateRuns, topK: 4);
        var stable = scores.StablePairs(0.99);
        for (var q = 0; q < 3; q++)
        {
            for (var i = 0; i < 20; i++)
            {
                double[] values = [.. members.Select(m => m[q, i])];
                var mean = values.Average();
                var deviation = Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / 6);
                Assert.Equal(deviation, scores.StandardDeviations[q, i].item<double>(), 1e-7);
                Assert.Equal(mean, scores.Mean[q, i], 1e-7);

                // t of six degrees of freedom at 0.995.
                Assert.Equal(Math.Abs(mean) > 3.70743 * deviation / Math.Sqrt(7), stable.Any(p => p.QueryId == q && p.TrainId == i));
            }

            HashSet<int>[] top = [.. members.Select(m => Enumerable.Range(0, 20).OrderByDescending(i => m[q, i]).Take(4).ToHashSet())];
            var overlaps = new List<double>();
            for (var a = 0; a < 7; a++)
            {
                for (var b = 0; b < a; b++)
                {
                    overlaps.Add(top[a].Intersect(top[b]).Count() / 4.0);
                }
            }

            Assert.Equal(overlaps.Average(), scores.TopOverlaps[q], 12);
        }

        Assert.Equal(stable.Select(p => Math.Abs(p.Mean)).OrderDescending(), stable.Select(p => Math.Abs(p.Mean)));
        Assert.InRange(stable.Count, 21, 59);
        Assert.Equal(0.6, stable.ExpectedByChance, 12);
        var few = scores.StablePairs(0.99, 5);
        Assert.Equal((5, stable.Found), (few.Count, few.Found));
    }

    [Fact]
    public void CheckpointsOfOneRunHaveASpreadAndNoInterval()
    {
        using var folder = new TempFolder();
        using var c = new Classifier();
        var first = Checkpoint.Save(folder.Path("a.safetensors"), c.Model, 0.1, step: 1);
        using var one = Score(c);
        Scale(c, 1.5);
        var second = Checkpoint.Save(folder.Path("b.safetensors"), c.Model, 0.1, step: 2);
        using var two = Score(c);
        Scale(c, 1.1);
        var ensemble = new InfluenceEnsemble(task => Ekfac.Fit(task, c.Train)) { Checkpoints = [first, second] };
        var live = LiveTensors.OnThisThread;
        using (var scores = ensemble.ScoreWithSpread(c.Task(), c.Train, c.Queries, topK: 3))
        using (NewDisposeScope())
        {
            using var mean = ensemble.Score(c.Task(), c.Train, c.Queries);
            Assert.True(SingleExampleLoop.RelativeError(scores.Mean.Values, mean.Values) < 1e-12);
            Assert.True(SingleExampleLoop.RelativeError(scores.StandardDeviations, (one.Values - two.Values).abs() / Math.Sqrt(2)) < 1e-9);
            Assert.Equal(InfluenceEnsemble.Kind.OneRun, scores.Members);
            Assert.Contains("step 1; step 2", scores.Mean.Metadata.Checkpoints, StringComparison.Ordinal);
            foreach (var call in new Action[] { () => scores.Interval(0, 0), () => scores.StandardError(0, 0), () => scores.StablePairs() })
            {
                Assert.Contains("SeparateRuns = true", Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);
            }
        }

        Assert.Equal(live, LiveTensors.OnThisThread);
        using var apart = (ensemble with { SeparateRuns = true }).ScoreWithSpread(c.Task(), c.Train, c.Queries);
        Assert.True(apart.Interval(0, 0).Upper >= apart.Mean[0, 0]);
        using var models = new InfluenceEnsemble(task => Ekfac.Fit(task, c.Train)) { OtherModels = [c.Task()] }.ScoreWithSpread(
            c.Task(),
            c.Train,
            c.Queries
        );
        Assert.Equal((InfluenceEnsemble.Kind.SeparateRuns, 2), (models.Members, models.MemberCount));
        Assert.All(models.TopOverlaps, overlap => Assert.Equal(1, overlap, 12));
        Assert.Contains(
            "at least two members",
            Message(() => new InfluenceEnsemble(task => Ekfac.Fit(task, c.Train)).ScoreWithSpread(c.Task(), c.Train, c.Queries)),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void MembersThatDoNotFitAreRefused()
    {
        var live = LiveTensors.OnThisThread;
        Assert.Contains(
            "two members; found 1",
            Message(() => InfluenceEnsemble.Result.Of(Members(new double[1, 2]), InfluenceEnsemble.Kind.SeparateRuns)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "member 2 has other ids",
            Message(() => InfluenceEnsemble.Result.Of(Members(new double[1, 2], new double[1, 3]), InfluenceEnsemble.Kind.SeparateRuns)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "Member 2 has scores",
            Message(() =>
                InfluenceEnsemble.Result.Of(
                    Members(
                        new double[1, 1],
                        new[,]
                        {
                            { double.NaN },
                        }
                    ),
                    InfluenceEnsemble.Kind.SeparateRuns
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "topK is at least 1",
            Message(() => InfluenceEnsemble.Result.Of(Members(new double[1, 1]), InfluenceEnsemble.Kind.SeparateRuns, 0)),
            StringComparison.Ordinal
        );
        Assert.Equal(live, LiveTensors.OnThisThread);
    }

    private static IEnumerable<InfluenceScores> Members(params double[][,] members)
    {
        foreach (var member in members)
        {
            using var scores = new InfluenceScores(
                tensor(member),
                [.. Enumerable.Range(0, member.GetLength(0)).Select(i => (long)i)],
                [.. Enumerable.Range(0, member.GetLength(1)).Select(i => (long)i)],
                new ScoreMetadata { Estimator = "test", Unit = "u" }
            );
            yield return scores;
        }
    }

    private static string Message(Func<InfluenceEnsemble.Result> call) =>
        Assert
            .Throws<InfluenceException>(() =>
            {
                call().Dispose();
            })
            .Message;

    private static void Scale(Classifier c, double factor)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        c.Hidden.weight.mul_(factor);
    }

    private static InfluenceScores Score(Classifier c)
    {
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        return new InfluenceFunction(fit).Score(c.Task(), c.Train, c.Queries);
    }
}
