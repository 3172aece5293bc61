using Influence.Numerics;
using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class StratifiedTests : SelectionStrategyContract
{
    private static readonly Dictionary<string, double> s_mixture = new()
    {
        ["web"] = 0.2,
        ["books"] = 0.5,
        ["code"] = 0.3,
    };

    protected override SelectionStrategy Strategy(long seed) => new Stratified(new TopK()) { Seed = seed, Quotas = GroupQuotas.Equal };

    /// <summary>Sizes 64, 16, 4 of 84.</summary>
    public static TheoryData<GroupQuotas, long, long[]> Quotas =>
        new()
        {
            { GroupQuotas.Proportional, 21, [16, 4, 1] },
            { GroupQuotas.SquareRoot, 14, [8, 4, 2] },
            { GroupQuotas.Equal, 12, [4, 4, 4] },
            // four are all there are of the third; the rest is shared by the others, ties to the first
            { GroupQuotas.Equal, 13, [5, 4, 4] },
            { GroupQuotas.Equal, 40, [20, 16, 4] },
            { GroupQuotas.Equal, 84, [64, 16, 4] },
            { GroupQuotas.Proportional, 1, [1, 0, 0] },
            { GroupQuotas.Of(s_mixture), 10, [2, 5, 3] },
            {
                GroupQuotas.Of(
                    new Dictionary<string, double>
                    {
                        ["web"] = 1,
                        ["books"] = 0,
                        ["code"] = 1,
                    }
                ),
                12,
                [8, 0, 4]
            },
        };

    [Theory]
    [MemberData(nameof(Quotas))]
    public void EachGroupGetsItsQuota(GroupQuotas quotas, long budget, long[] expected)
    {
        using var pool = Sources(64, 16, 4);
        var selected = new Stratified(new TopK()) { Quotas = quotas }.Select(pool, SelectionBudget.Count(budget));
        Assert.Equal(expected.AsEnumerable(), pool.Groups!.Names.Select(name => (long)selected.Ids.Count(pool.Groups[name].Contains)));
        Assert.All(
            pool.Groups.Names,
            name =>
            {
                var chosen = selected.Ids.Where(pool.Groups[name].Contains).ToList();
                Assert.Equal(pool.Groups[name].OrderByDescending(id => Math.Sin(id)).Take(chosen.Count), chosen);
            }
        );
    }

    [Fact]
    public void EveryFirstPartHasTheShares()
    {
        using var pool = Sources(64, 16, 4);
        var selected = new Stratified(new TopK()).Select(pool, SelectionBudget.Count(42));
        var web = 0;
        for (var i = 0; i < selected.Count; i++)
        {
            web += pool.Groups!["web"].Contains(selected.Ids[i]) ? 1 : 0;
            Assert.InRange(web - ((i + 1) * 64.0 / 84), -1.5, 1.5);
        }
    }

    [Fact]
    public void AShortfallIsNotedOrRefused()
    {
        using var pool = Sources(64, 16, 4);
        var selected = new Stratified(new TopK()) { Quotas = GroupQuotas.Equal }.Select(pool, SelectionBudget.Count(30));
        Assert.Contains("\"code\" has 4 of the 10 examples", Assert.Single(selected.Notes), StringComparison.Ordinal);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new Stratified(new TopK()) { Quotas = GroupQuotas.Equal, WhenShort = Stratified.Shortfall.Refuse }.Select(
                pool,
                SelectionBudget.Count(30)
            )
        );
        Assert.Contains("\"code\" is 10, but it has 4", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NoGroupGetsMoreThanItsMaximumShare()
    {
        using var pool = Sources(64, 16, 4);
        var strategy = new Stratified(new TopK()) { MaximumShare = 0.5 };
        var selected = strategy.Select(pool, SelectionBudget.Count(21));
        // 11 left in the ratio 4 to 1
        Assert.Equal([10, 9, 2], pool.Groups!.Names.Select(name => selected.Ids.Count(pool.Groups[name].Contains)));
        Assert.Empty(selected.Notes);
        var thrown = Assert.Throws<InfluenceException>(() =>
            (strategy with { MaximumShare = 0.3 }).Select(pool, SelectionBudget.Count(21))
        );
        Assert.Contains("may give 16 together", thrown.Message, StringComparison.Ordinal); // 6, 6 and all 4
        Assert.Throws<InfluenceException>(() => new Stratified(new TopK()) { MaximumShare = 0 });
    }

    [Fact]
    public void QuotasThatNobodyCanMeetAreRefused()
    {
        using var pool = Sources(64, 16, 4);
        InfluenceException Thrown(params (string Name, double Weight)[] weights) =>
            Assert.Throws<InfluenceException>(() =>
                new Stratified(new TopK()) { Quotas = GroupQuotas.Of(weights.ToDictionary(w => w.Name, w => w.Weight)) }.Select(
                    pool,
                    SelectionBudget.Count(30)
                )
            );

        Assert.Contains("have 20 together", Thrown(("web", 0), ("books", 1), ("code", 1)).Message, StringComparison.Ordinal);
        Assert.Contains("no weight: \"code\"", Thrown(("web", 1), ("books", 1)).Message, StringComparison.Ordinal);
        Assert.Contains(
            "no candidate in the pool: \"news\"",
            Thrown(("web", 1), ("books", 1), ("code", 1), ("news", 1)).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => GroupQuotas.Of(new Dictionary<string, double> { ["web"] = double.NaN }));
        Assert.Throws<InfluenceException>(() => GroupQuotas.Of(new Dictionary<string, double> { ["web"] = 0 }));
    }

    [Fact]
    public void CandidatesInNoGroupOrInSeveralAreNamed()
    {
        using var none = new SelectionPool(ExampleScores.Of([1, 2, 3], [1, 2, 3])) { Groups = ExampleGroups.FromMembers(("a", [1, 2])) };
        Assert.Contains(
            "in no group: 3",
            Assert.Throws<InfluenceException>(() => new Stratified(new TopK()).Select(none, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
        using var several = new SelectionPool(ExampleScores.Of([1, 2], [1, 2]))
        {
            Groups = ExampleGroups.FromMembers(("a", [1, 2]), ("b", [2])),
        };
        Assert.Contains(
            "several: 2",
            Assert.Throws<InfluenceException>(() => new Stratified(new TopK()).Select(several, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
        using var without = new SelectionPool([1, 2]);
        var thrown = Assert.Throws<InfluenceException>(() => new Stratified(new TopK()).Select(without, SelectionBudget.Count(1)));
        Assert.Contains("reads scores", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("Groups = ", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TokensAreSharedOut()
    {
        using var pool = Sources(64, 16, 4);
        using var tokens = new SelectionPool(ExampleScores.Of(pool.Ids, [.. pool.Ids.Select(id => Math.Sin(id))]))
        {
            Groups = pool.Groups,
            Lengths = [.. pool.Ids.Select(id => 1 + (id % 3))],
        };
        var selected = new Stratified(new TopK()) { Quotas = GroupQuotas.Of(s_mixture) }.Select(tokens, SelectionBudget.Tokens(20));
        Assert.Equal(20, selected.Ids.Sum(id => 1 + (id % 3)));
        foreach (var (name, weight) in s_mixture)
        {
            // A quota that is missed is missed by less than the longest example, 3, and what is left over is given out once.
            Assert.InRange(selected.Ids.Where(pool.Groups![name].Contains).Sum(id => 1 + (id % 3)), (20 * weight) - 2, (20 * weight) + 4);
        }
    }

    [Fact]
    public void AnInnerStrategyThatStopsEarlyIsNoted()
    {
        using var pool = Sources(6, 6, 6);
        var selected = new Stratified(new ScoreThreshold { Minimum = 0.9 }) { Quotas = GroupQuotas.Equal }.Select(
            pool,
            SelectionBudget.Count(12)
        );
        Assert.All(selected.Utilities, utility => Assert.True(utility >= 0.9));
        Assert.Contains(selected.Notes, note => note.Contains("stopped at", StringComparison.Ordinal));
    }

    [Fact]
    public void SeedsReachTheInnerStrategy()
    {
        using var pool = Sources(64, 16, 4);
        long[] Ids(long inner, long outer) =>
            [
                .. new Stratified(new RandomSelection { Seed = inner }) { Seed = outer }
                    .Select(pool, SelectionBudget.Count(20))
                    .Ids,
            ];
        Assert.Equal(Ids(1, 2), Ids(2, 1));
        Assert.NotEqual(Ids(1, 2), Ids(1, 3));
    }

    [Fact]
    public void TokensThatAreLeftKeepToTheMaximumShare()
    {
        long[] ids = [.. Enumerable.Range(1, 40)];
        using var pool = new SelectionPool(ExampleScores.Of(ids, [.. ids.Select(id => Math.Sin(id))]))
        {
            Groups = ExampleGroups.Of(ids, id => id <= 20 ? "a" : "b"),
            Lengths = [.. ids.Select(id => id <= 20 ? 1L : 6)],
        };
        var strategy = new Stratified(new TopK()) { Quotas = GroupQuotas.Equal, MaximumShare = 0.5 };
        var selected = strategy.Select(pool, SelectionBudget.Tokens(20));
        Assert.Equal([10, 1], pool.Groups!.Names.Select(name => selected.Ids.Count(pool.Groups[name].Contains)));
        Assert.Contains("4 tokens of the budget are left", Assert.Single(selected.Notes), StringComparison.Ordinal);
        Assert.Equal(15, (strategy with { MaximumShare = 0.8 }).Select(pool, SelectionBudget.Tokens(20)).Count); // 14 of a: below its 16
    }

    [Fact]
    public void WeightsOfWhatIsLeftAreNotCountedTwice()
    {
        using var scope = torch.NewDisposeScope();
        long[] ids = [.. Enumerable.Range(1, 40)];
        using var pool = new SelectionPool(ids)
        {
            Features = torch.randn([40, 3], generator: new torch.Generator(4)),
            Groups = ExampleGroups.Of(ids, id => id <= 20 ? "a" : "b"),
            Lengths = [.. ids.Select(id => id <= 20 ? 1L : 6)],
        };
        var selected = new Stratified(new FacilityLocation()) { Quotas = GroupQuotas.Equal }.Select(pool, SelectionBudget.Tokens(20));
        Assert.Equal([14, 1], pool.Groups!.Names.Select(name => selected.Ids.Count(pool.Groups[name].Contains)));
        Assert.Equal(40, selected.Weights.Sum()); // counts: exact
    }

    [Fact]
    public void TokensOfAGroupThatStoppedEarlyStayUnused()
    {
        long[] ids = [1, 2, 3, 4, 5, 6, 7, 8];
        using var pool = new SelectionPool(ExampleScores.Of(ids, [1, 1, -1, -1, 1, 1, 1, 1]))
        {
            Groups = ExampleGroups.Of(ids, id => id <= 4 ? "a" : "b"),
            Lengths = [1, 1, 1, 1, 1, 1, 1, 1],
        };
        var selected = new Stratified(new ScoreThreshold { Minimum = 0 }) { Quotas = GroupQuotas.Equal }.Select(
            pool,
            SelectionBudget.Tokens(6)
        );
        Assert.Equal([2, 3], pool.Groups!.Names.Select(name => selected.Ids.Count(pool.Groups[name].Contains)));
        Assert.Contains(selected.Notes, note => note.Contains("\"a\" threshold stopped at 2 of 3 tokens", StringComparison.Ordinal));
    }

    [Fact]
    public void TheInnerStrategyIsAskedOfEachGroupBeforeAnythingIsPicked()
    {
        using var pool = Sources(5, 5, 4);
        var inner = new SmallPools(5);
        Assert.Equal(9, new Stratified(inner).Select(pool, SelectionBudget.Count(9)).Count); // 14 candidates, but at most 5 in a group
        Assert.Equal(3, inner.Calls.Count);

        using var large = Sources(5, 5, 6);
        inner.Calls.Clear();
        var message = Assert.Throws<InfluenceException>(() => new Stratified(inner).Select(large, SelectionBudget.Count(9))).Message;
        Assert.Equal("In the group \"code\": at most 5 candidates, not 6.", message);
        Assert.Empty(inner.Calls);

        // What every group lacks is said once.
        using var plain = new SelectionPool(large.Ids) { Groups = large.Groups };
        Assert.Equal(
            "top-k reads scores: new SelectionPool(scores).",
            Assert.Throws<InfluenceException>(() => new Stratified(new TopK()).Select(plain, SelectionBudget.Count(9))).Message
        );
    }

    /// <summary>Shares by bisection on c agree with the sorted sweep.</summary>
    [Fact]
    public void CappedSharesSolveTheirEquation()
    {
        var random = new Random(5);
        for (var round = 0; round < 50; round++)
        {
            double[] weights = [.. Enumerable.Range(0, 8).Select(_ => random.Next(4) * random.NextDouble())];
            double[] caps = [.. Enumerable.Range(0, 8).Select(_ => (double)random.Next(1, 10))];
            var reachable = Enumerable.Range(0, 8).Where(i => weights[i] > 0).Sum(i => caps[i]);
            var total = random.NextDouble() * reachable;
            var shares = CappedShares.Of(weights, caps, total);
            var (low, high) = (0.0, 1e6);
            for (var step = 0; step < 200; step++)
            {
                var c = (low + high) / 2;
                (low, high) = Enumerable.Range(0, 8).Sum(i => Math.Min(caps[i], c * weights[i])) < total ? (c, high) : (low, c);
            }

            // bisection of a range of 1e6
            Assert.All(Enumerable.Range(0, 8), i => Assert.Equal(Math.Min(caps[i], high * weights[i]), shares[i], 1e-8));
            var whole = CappedShares.LargestRemainder(shares, [.. caps.Select(cap => (long)cap)]);
            Assert.Equal((long)Math.Round(total), whole.Sum());
            Assert.All(Enumerable.Range(0, 8), i => Assert.InRange(whole[i] - shares[i], -1, 1));
        }
    }

    private static SelectionPool Sources(int web, int books, int code)
    {
        long[] ids = [.. Enumerable.Range(1, web + books + code)];
        return new SelectionPool(ExampleScores.Of(ids, [.. ids.Select(id => Math.Sin(id))]))
        {
            Groups = ExampleGroups.Of(
                ids,
                id =>
                    id <= web ? "web"
                    : id <= web + books ? "books"
                    : "code"
            ),
        };
    }

    private sealed record SmallPools(int Largest) : SelectionStrategy
    {
        public override string Name => "small pools";

        public List<int> Calls { get; } = [];

        protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) =>
            pool.Count > Largest ? [$"at most {Largest} candidates, not {pool.Count}."] : [];

        protected override void Pick(SelectionPool pool, Picks picks, Run run)
        {
            Calls.Add(pool.Count);
            picks.AddInOrder(Enumerable.Range(0, pool.Count), new double[pool.Count]);
        }
    }
}

public sealed class StratifiedRandomTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new Stratified(new Proportional()) { Seed = seed };
}
