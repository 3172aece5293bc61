using Influence.Groups;
using Influence.Mixtures;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Mixtures;

public class MixtureSamplerTests
{
    private static readonly ExampleGroups s_groups = ExampleGroups.FromMembers(
        ("a", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("b", [10, 11, 12]),
        ("c", [20])
    );

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SharesFollowTheMixture(bool balanced)
    {
        var sampler = new Mixture.Sampler(s_groups, new(["a", "b", "c"], [0.2, 0.7, 0.1]), seed: 3)
        {
            EpochLength = 10_000,
            Balanced = balanced,
        };
        var counts = sampler.CountBy(id => id / 10).ToDictionary(pair => pair.Key, pair => (double)pair.Value);

        // Independent draws: four standard deviations of a share, sqrt(0.25 / 10,000) * 4. In turn: one example.
        var tolerance = balanced ? 1e-4 : 0.02;
        Assert.Equal(0.2, counts[0] / 10_000, tolerance);
        Assert.Equal(0.7, counts[1] / 10_000, tolerance);
        Assert.Equal(0.1, counts[2] / 10_000, tolerance);
        Assert.Equal(counts[1], sampler.Drawn["b"]);
    }

    [Fact]
    public void NothingRepeatsBeforeItsGroupIsUsedUp()
    {
        var sampler = new Mixture.Sampler(s_groups, new(["a", "b", "c"], [0.6, 0.4, 0]), seed: 4) { EpochLength = Mixture.Sampler.Endless };
        var drawn = sampler.Take(400).ToList();
        Assert.DoesNotContain(20, drawn);
        var orders = new HashSet<string>();
        foreach (var (group, size) in new[] { (0, 8), (1, 3) })
        {
            foreach (var round in drawn.Where(id => id / 10 == group).Chunk(size).Where(r => r.Length == size))
            {
                Assert.Equal(size, round.Distinct().Count());
                orders.Add(string.Join(",", round));
            }
        }

        Assert.True(orders.Count > 20, "Every round is shuffled anew.");
    }

    [Fact]
    public void TheSameSeedGivesTheSameStreamAndEpochsGoOn()
    {
        Mixture.Sampler Make(long seed, long length) => new(s_groups, Mixture.Uniform("c", "b", "a"), seed) { EpochLength = length };
        var whole = Make(5, 40).ToList();
        var parts = Make(5, 20);

        Assert.Equal(whole, Make(5, 40).ToList());
        Assert.Equal(whole, [.. parts, .. parts]);
        Assert.NotEqual(whole, Make(6, 40).ToList());
        Assert.Equal(12, new Mixture.Sampler(s_groups, Mixture.Uniform("c", "b", "a")).Count());
    }

    /// <summary>What a batch holds is decided when it is drawn: the next one follows a mixture set in between.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void ADataLoaderDrawsByItAndFollowsANewMixture(int workers)
    {
        using var values = arange(30, dtype: ScalarType.Int64).reshape(30, 1);
        using var dataset = utils.data.TensorDataset(values);
        var sampler = new Mixture.Sampler(s_groups, new(["a", "b", "c"], [1, 0, 0]), seed: 1) { EpochLength = 26, Balanced = true };
        using var loader = utils.data.DataLoader(dataset, 4, sampler, num_worker: workers, disposeDataset: false);
        var batches = new List<long[]>();
        foreach (var batch in loader)
        {
            batches.Add(batch[0].data<long>().ToArray());
            if (batches.Count == 3)
            {
                sampler.Mixture = new(["a", "b", "c"], [0, 0.5, 0.5]);
            }
        }

        Assert.Equal([4, 4, 4, 4, 4, 4, 2], batches.Select(b => b.Length));
        Assert.All(batches[..3].SelectMany(b => b), id => Assert.InRange(id, 0, 7));
        Assert.All(batches[3..], b => Assert.Equal(b.Length / 2, b.Count(id => id == 20)));
        Assert.Equal(7, loader.Sum(_ => 1));
    }

    [Fact]
    public void GroupsThatDoNotMatchAreRefused()
    {
        Says(() => new Mixture.Sampler(s_groups, Mixture.Uniform("a", "b")), "lacks \"c\"");
        Says(() => new Mixture.Sampler(s_groups, Mixture.Uniform("a", "b", "c", "d")), "alone has \"d\"");
        var sampler = new Mixture.Sampler(s_groups, Mixture.Uniform("a", "b", "c"));
        Says(() => sampler.Mixture = Mixture.Uniform("x"), "lacks \"a\", \"b\", \"c\"");
        Assert.Equal(1.0 / 3, sampler.Mixture["a"]);
        Says(() => new Mixture.Sampler(s_groups, Mixture.Uniform("a", "b", "c")) { EpochLength = 0 }, "EpochLength is 0");
    }

    [Fact]
    public void AMixtureIsMeasuredAnewEverySoManySteps()
    {
        var sampler = new Mixture.Sampler(s_groups, Mixture.Uniform("a", "b", "c"));
        var measured = 0;
        var remeasured = new RemeasuredMixture(
            sampler,
            3,
            () =>
                GroupScoresOf.Means(
                    new double[,]
                    {
                        { 0, 0, ++measured },
                    }
                ),
            (scores, now) =>
                new TikmixD { KeepTargets = false }
                    .Optimize(scores, now)
                    .Mixture
        );

        Assert.Equal([false, false, true, false, false, true, false], Enumerable.Range(0, 7).Select(_ => remeasured.Step()));
        Assert.Equal([3, 6], remeasured.History.Select(h => h.Step));
        Assert.Equal([1, 2], remeasured.History.Select(h => h.Scores.Sum(0, 2)));
        Assert.Same(remeasured.History[1].Mixture, sampler.Mixture);
        Assert.True(sampler.Mixture["c"] > 0.5);
        Says(() => new RemeasuredMixture(sampler, 0, () => null!, (_, m) => m), "everySteps is 0");
        Says(() => new RemeasuredMixture(sampler, 1, () => null!, (_, m) => m).Measure(), "measure returned null");
    }

    /// <summary>Influence is optimised in shares of tokens and examples are drawn: the constraint holds for the tokens.</summary>
    [Fact]
    public void AMixtureOfTokensIsDrawnInExamples()
    {
        // Examples of a have 8 tokens, of b 2, of c 1.
        GroupScores.Row[] sizes = [new("a", 8, 64), new("b", 3, 6), new("c", 1, 1)];
        var present = new Mixture(["a", "b", "c"], [0.5, 0.25, 0.25]);
        var sampler = new Mixture.Sampler(s_groups, present.ToExampleShares(sizes));
        var seen = new List<Mixture>();
        var next = new Mixture(["a", "b", "c"], [0.8, 0.1, 0.1]);
        var remeasured = new RemeasuredMixture(
            sampler,
            1,
            () =>
                GroupScoresOf.Means(
                    new double[,]
                    {
                        { 1, 2, 3 },
                    }
                ),
            (_, now) =>
            {
                seen.Add(now);
                return next;
            },
            sizes
        );

        Assert.Equal(0, remeasured.Mixture.Distance(present), 1e-12);
        remeasured.Step();
        remeasured.Step();

        Assert.Equal(0, seen[0].Distance(present), 1e-12);
        Assert.Equal(0, seen[1].Distance(next), 1e-12);
        Assert.Same(next, remeasured.History[0].Mixture);

        // 0.8 / 8, 0.1 / 2 and 0.1 / 1 in proportion: 2 : 1 : 2.
        Assert.Equal(0, sampler.Mixture.Distance(new(["a", "b", "c"], [0.4, 0.2, 0.4])), 1e-12);
        Says(() => new RemeasuredMixture(sampler, 1, () => null!, (_, m) => m, sizes[1..]), "alone has \"a\"");
    }

    /// <summary>Reading the ids of an endless stream would never end, and of any stream would take its examples away.</summary>
    [Theory]
    [InlineData(26)]
    [InlineData(Mixture.Sampler.Endless)]
    public void AStreamIsNotRead(long length)
    {
        using var values = arange(30, dtype: ScalarType.Int64).reshape(30, 1);
        using var dataset = utils.data.TensorDataset(values);
        var sampler = new Mixture.Sampler(s_groups, Mixture.Uniform("a", "b", "c")) { EpochLength = length };
        using var loader = utils.data.DataLoader(dataset, 4, sampler, disposeDataset: false);

        Says(() => Examples.FromLoader(loader).Count, "draws from a Mixture.Sampler");
        Assert.Equal(0, sampler.Drawn.Values.Sum());
    }

    private static void Says(Func<object> act, string part) =>
        Assert.Contains(part, Assert.Throws<InfluenceException>(act).Message, StringComparison.Ordinal);
}
