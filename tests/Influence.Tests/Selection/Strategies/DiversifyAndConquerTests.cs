using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class DiversifyAndConquerTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new DiversifyAndConquer { Seed = seed, Reward = round => [.. round.Added.Select(id => Math.Cos(id))] };

    [Fact]
    public void ConstantRewardsKeepTheWeights()
    {
        double[] weights = [0.5, 0.3, 0.2];
        var after = DiversifyAndConquer.Reweighted(weights, [7, double.NaN, 7], 1);
        Assert.All(weights.Zip(after), pair => Assert.Equal(pair.First, pair.Second, 1e-15));
    }

    [Fact]
    public void WeightsAreMultipliedByTheExponentialOfTheReward()
    {
        var after = DiversifyAndConquer.Reweighted([0.5, 0.25, 0.25], [2, 1, 0], 2);
        Assert.Equal(2 * Math.Exp(0.5), after[0] / after[1], 1e-12);
        Assert.Equal(Math.Exp(0.5), after[1] / after[2], 1e-12);
        Assert.Equal(1, after.Sum(), 1e-12);
    }

    /// <summary>
    /// 90 picks in three rounds over three clusters: ten each first; the rewards 2, 0, 0 then give the weights
    /// e^2 / (e^2 + 2) = .787 and, after two rounds, .965. Draws of 30 are within 4 standard deviations.
    /// </summary>
    [Fact]
    public void RoundsAreEqualAndFollowTheRewards()
    {
        var rounds = new List<DiversifyAndConquer.Row>();
        long[] ids = [.. Enumerable.Range(0, 600)];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, id => $"{id % 3}") };
        var strategy = new DiversifyAndConquer
        {
            Reward = round =>
            {
                rounds.Add(round);
                return [.. round.Added.Select(id => id % 3 == 1 ? 2.0 : 0)];
            },
        };
        var selected = strategy.Select(pool, SelectionBudget.Count(90));
        Assert.Equal([1, 2], rounds.Select(r => r.Round));
        Assert.Equal([30, 60], rounds.Select(r => r.Selected.Count));
        Assert.All(rounds, round => Assert.Equal(30, round.Added.Count));
        Assert.Equal(selected.Ids.Take(60), rounds[1].Selected);
        Assert.Equal([10, 10, 10], Enumerable.Range(0, 3).Select(c => selected.Ids.Take(30).Count(id => id % 3 == c)));
        Assert.InRange(selected.Ids.Skip(30).Take(30).Count(id => id % 3 == 1), 15, 30);
        Assert.InRange(selected.Ids.Skip(60).Count(id => id % 3 == 1), 25, 30);
        Assert.Equal(0.965, selected.Utilities.Skip(60).Max(), 1e-3);
    }

    [Fact]
    public void AnExhaustedClusterIsMadeUpForByTheOthers()
    {
        long[] ids = [.. Enumerable.Range(0, 50)];
        using var pool = new SelectionPool(ids) { Groups = ExampleGroups.Of(ids, id => id < 3 ? "few" : "many") };
        var selected = new DiversifyAndConquer { Reward = round => [.. round.Added.Select(id => id < 3 ? 50.0 : 0)] }.Select(
            pool,
            SelectionBudget.Count(30)
        );
        Assert.Equal(30, selected.Count);
        Assert.Equal(3, selected.Ids.Count(id => id < 3));
    }

    [Fact]
    public void RewardsAndSettingsThatAreWrongAreRefused()
    {
        using var pool = Pool([.. Enumerable.Range(0, 60)]);
        Assert.Contains("found 1", Message(_ => [1.0]), StringComparison.Ordinal);
        Assert.Contains("not finite", Message(round => [.. round.Added.Select(_ => double.NaN)]), StringComparison.Ordinal);
        Assert.Contains("Reward", Message(null!), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new DiversifyAndConquer { Reward = _ => [], Rounds = 0 });
        Assert.Throws<InfluenceException>(() => new DiversifyAndConquer { Reward = _ => [], Temperature = 0 });

        string Message(Func<DiversifyAndConquer.Row, IReadOnlyList<double>> reward) =>
            Assert
                .Throws<InfluenceException>(() => new DiversifyAndConquer { Reward = reward }.Select(pool, SelectionBudget.Count(9)))
                .Message;
    }
}
