using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class CraigTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Craig { Seed = seed };

    [Fact]
    public void WithoutGroupsItIsFacilityLocation()
    {
        using var pool = FacilityLocationTests.Pool(
            new double[,]
            {
                { 0 },
                { 1 },
                { 10 },
                { 11 },
                { 12 },
            }
        );
        var selected = new Craig().Select(pool, SelectionBudget.Count(3));
        Assert.Equal([2, 0, 3], selected.Ids);
        Assert.Equal([1, 2, 2], selected.Weights);
    }

    /// <summary>Each class has its share of picks, and its picks' weights sum to its size: no candidate counts for another class.</summary>
    [Theory]
    [InlineData(20_000)]
    [InlineData(15)]
    public void GroupsAreMatchedOneByOne(int exactUpTo)
    {
        using var pool = Pool([.. Enumerable.Range(0, 60)]);
        var selected = new Craig { ExactUpTo = exactUpTo, ClusterSize = 8 }.Select(pool, SelectionBudget.Count(9));
        foreach (var name in pool.Groups!.Names)
        {
            var members = pool.Groups[name].ToHashSet();
            var picks = selected.Ids.Index().Where(pick => members.Contains(pick.Item)).Select(pick => pick.Index).ToList();
            Assert.Equal(3, picks.Count);
            Assert.Equal(20, picks.Sum(i => selected.Weights[i]));
        }
    }

    /// <summary>The weighted sum of the picks' gradients is off by no more than the sum of distances to the nearest picks.</summary>
    [Fact]
    public void TheErrorOfTheGradientIsBounded()
    {
        using var scope = NewDisposeScope();
        var features = FacilityLocationTests.Clustered(200, 4, 8);
        var distances = CoverageReference.Distances(features, 2);
        using var pool = FacilityLocationTests.Pool(features);
        var selected = new Craig().Select(pool, SelectionBudget.Count(20));
        Assert.Equal(200, selected.Weights.Sum());
        var bound = Enumerable.Range(0, 200).Sum(i => selected.Ids.Min(j => distances[i, (int)j]));
        var error = Enumerable
            .Range(0, 4)
            .Sum(c =>
                Math.Pow(
                    Enumerable.Range(0, 200).Sum(i => features[i, c])
                        - selected.Ids.Zip(selected.Weights).Sum(pick => pick.Second * features[(int)pick.First, c]),
                    2
                )
            );
        Assert.True(Math.Sqrt(error) <= bound);
        // Twenty that were not chosen stand for far less.
        Assert.True(bound < Enumerable.Range(0, 200).Sum(i => Enumerable.Range(0, 20).Min(j => distances[i, j])));
    }

    [Fact]
    public void AGroupWithoutAPickIsCountedElsewhere()
    {
        using var pool = Pool([.. Enumerable.Range(0, 60)]);
        Assert.Equal(60, new Craig().Select(pool, SelectionBudget.Count(2)).Weights.Sum());
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([1, 2, 3]) { Features = ones(3, 2), Groups = ExampleGroups.Of([1, 2], ["a", "b"]) };
        Assert.Contains(
            "in no group: 3",
            Assert.Throws<InfluenceException>(() => new Craig().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }
}
