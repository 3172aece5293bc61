using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class QuadTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new Quad
        {
            Seed = seed,
            Probes = 2,
            Oracle = ById,
        };

    private static double[] ById(IReadOnlyList<long> ids) => [.. ids.Select(id => Math.Sin(id))];

    /// <summary>The sheet: alpha = .002, sum of T = 100, T = 4: .0030349, rounded to seven digits there.</summary>
    [Fact]
    public void TheBonusIsTheSheets() => Assert.Equal(0.0030349, UpperConfidenceBandit.Bonus(0.002, 100, 4), 5e-8);

    [Theory]
    [InlineData(1)]
    [InlineData(1000)]
    [InlineData(1e-4)]
    public void OfTwoArmsTheBetterIsPulledMoreThanNineteenTimesInTwenty(double unit)
    {
        var bandit = new UpperConfidenceBandit(2, 1);
        bandit.Pull(0, 0.1 * unit);
        bandit.Pull(1, 0.9 * unit);
        var better = 0;
        for (var pull = 0; pull < 1000; pull++)
        {
            var arm = bandit.Top(1)[0];
            better += arm;
            bandit.Pull(arm, (arm == 0 ? 0.1 : 0.9) * unit);
        }

        Assert.InRange(better, 951, 999);
    }

    [Fact]
    public void SharedRewardsMoveTheMeanAndAreNoPulls()
    {
        var bandit = new UpperConfidenceBandit(2, 1);
        Assert.True(double.IsNaN(bandit.Mean(0)));
        bandit.Pull(0, 1);
        bandit.Share(0, 4, 0.5);
        Assert.Equal(2, bandit.Mean(0), 1e-15);
        bandit.Pull(1, 2);
        // Equal means and one pull each: the tie goes to the first, which a second pull would not have left.
        Assert.Equal([0, 1], bandit.Top(2));
        bandit.Remove(0);
        Assert.Equal([1], bandit.Top(2));
        Assert.False(bandit.Empty);
    }

    /// <summary>Twenty clusters of which two are good: most picks come from these, and little of the pool is measured.</summary>
    [Fact]
    public void FindsTheGoodClustersWithoutMeasuringThePool()
    {
        const int n = 4000;
        var asked = new HashSet<long>();
        long[] ids = [.. Enumerable.Range(0, n)];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, id => $"{id % 20}") };
        var selected = new Quad { Oracle = Scores, Probes = 5 }.Select(pool, SelectionBudget.Count(300));
        Assert.InRange(selected.Ids.Count(Good), 280, 300);
        Assert.InRange(asked.Count, 100, n / 5);
        Assert.Contains(
            selected.Notes,
            note => note.StartsWith($"{asked.Count} of 4000 candidates were measured", StringComparison.Ordinal)
        );

        double[] Scores(IReadOnlyList<long> some)
        {
            Assert.All(some, id => Assert.True(asked.Add(id), $"{id} was measured twice"));
            return [.. some.Select(id => (Good(id) ? 1 : -1) + Math.Sin(id))];
        }

        static bool Good(long id) => id % 20 is 3 or 7;
    }

    [Fact]
    public void WhereNoPullIsAcceptedTheBudgetIsStillMetByTheBestMeans()
    {
        long[] ids = [.. Enumerable.Range(0, 40)];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, id => id < 20 ? "bad" : "worse") };
        var selected = new Quad
        {
            Oracle = some => [.. some.Select(id => id < 20 ? -1.0 : -2)],
            Probes = 3,
            MaximumRounds = 2,
        }.Select(pool, SelectionBudget.Count(10));
        Assert.All(selected.Ids, id => Assert.InRange(id, 0, 19));
        Assert.Contains(selected.Notes, note => note.StartsWith("10 picks were made after the last round", StringComparison.Ordinal));
    }

    [Fact]
    public void MeasuredMembersBelowTheThresholdAreTakenLast()
    {
        long[] ids = [.. Enumerable.Range(0, 30)];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, _ => "one") };
        var selected = new Quad { Oracle = some => [.. some.Select(id => id % 3 == 0 ? -1.0 : 5)], Probes = 30 }.Select(
            pool,
            SelectionBudget.Count(25)
        );
        Assert.All(selected.Ids.Take(20), id => Assert.NotEqual(0, id % 3));
        Assert.All(selected.Ids.Skip(20), id => Assert.Equal(0, id % 3));
    }

    /// <summary>Where good and bad lie in every cluster alike, no pull is accepted for long: measuring ends all the same, and what was
    /// found good is taken first.</summary>
    [Fact]
    public void MeasuringEndsAndWhatWasFoundGoodIsTakenFirst()
    {
        const int n = 4000;
        var asked = new List<long>();
        long[] ids = [.. Enumerable.Range(0, n)];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, id => $"{id % 40}") };
        var selected = new Quad { Oracle = Scores }.Select(pool, SelectionBudget.Count(300));
        Assert.InRange(asked.Count, 1, n / 4);
        var found = asked.Count(Good);
        Assert.Equal(Math.Min(300, found), selected.Ids.Count(id => asked.Contains(id) && Good(id)));

        double[] Scores(IReadOnlyList<long> some)
        {
            asked.AddRange(some);
            return [.. some.Select(id => Good(id) ? 1.0 : -1)];
        }

        static bool Good(long id) => (id * 2654435761 % 1000) < 250;
    }

    [Fact]
    public void NeighboursAreTheCentroidsWithinTheDistance()
    {
        using var scope = NewDisposeScope();
        long[] ids = [0, 1, 2, 3, 4];
        using var pool = new SelectionPool(ids)
        {
            Features = tensor(
                new double[,]
                {
                    { 1, 0 },
                    { 2, 0 },
                    { 1, 0.5 },
                    { 0, 1 },
                    { 0, 2 },
                }
            ),
            Groups = ExampleGroups.Of(ids, ["a", "a", "b", "c", "c"]),
        };
        using var clusters = PoolClusters.Of(pool, null, 10, 0, default);
        Assert.Equal(
            [
                [0, 1],
                [2],
                [3, 4],
            ],
            clusters.Members
        );
        var neighbours = clusters.Neighbours(0.2);
        var distance = 1 - (1 / Math.Sqrt(1.25));
        Assert.Equal(1, Assert.Single(neighbours[0]).Cluster);
        Assert.Equal(distance, neighbours[0][0].Distance, 1e-12);
        Assert.Equal(0, Assert.Single(neighbours[1]).Cluster);
        Assert.Empty(neighbours[2]);
        Assert.All(clusters.Neighbours(0), Assert.Empty);
    }

    [Fact]
    public void OraclesPoolsAndSettingsThatAreWrongAreRefused()
    {
        long[] ids = [1, 2, 3];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, _ => "g") };
        Assert.Contains("gave 1", Message(new Quad { Oracle = _ => [1.0] }, pool), StringComparison.Ordinal);
        Assert.Contains(
            "2",
            Message(new Quad { Oracle = some => [.. some.Select(id => id == 2 ? double.NaN : 1)] }, pool),
            StringComparison.Ordinal
        );
        Assert.Contains("Oracle", Message(new Quad { Oracle = null! }, pool), StringComparison.Ordinal);
        using var bare = new SelectionPool(ids);
        Assert.Contains("needs clusters", Message(new Quad { Oracle = ById }, bare), StringComparison.Ordinal);
        using var partly = new SelectionPool(ids) { Groups = ExampleGroups.FromMembers(("a", [1, 2]), ("b", [2])) };
        var message = Message(new Quad { Oracle = ById }, partly);
        Assert.Contains("in no group: 3", message, StringComparison.Ordinal);
        Assert.Contains("more than one: 2", message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new Quad { Oracle = ById, Probes = 0 });
        Assert.Throws<InfluenceException>(() => new Quad { Oracle = ById, Clusters = 0 });
        Assert.Throws<InfluenceException>(() => new Quad { Oracle = ById, Exploration = double.NaN });
        Assert.Throws<InfluenceException>(() => new Quad { Oracle = ById, NeighbourDistance = 3 });
        Assert.Throws<InfluenceException>(() => new Quad { Oracle = ById, Threshold = double.NaN });
    }

    [Fact]
    public void IdenticalPointsMakeOneCluster()
    {
        using var pool = new SelectionPool([.. Enumerable.Range(0, 9).Select(i => (long)i)]) { Features = ones(9, 3) };
        Assert.Equal(
            4,
            new Quad { Oracle = ById, Clusters = 5 }
                .Select(pool, SelectionBudget.Count(4))
                .Count
        );
    }

    private static string Message(Quad quad, SelectionPool pool) =>
        Assert.Throws<InfluenceException>(() => quad.Select(pool, SelectionBudget.Count(2))).Message;
}
