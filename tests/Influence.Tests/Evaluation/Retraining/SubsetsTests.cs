using Influence.Evaluation;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;

namespace Influence.Tests.Evaluation;

/// <summary>Which examples are retrained on.</summary>
public class SubsetsTests
{
    [Fact]
    public void HalvesFollowFromSeedAndIdsAlone()
    {
        var halves = Subsets.Half(Ids(9), 20, seed: 3);
        var reversed = Subsets.Half([.. Ids(9).Reverse()], 20, seed: 3);

        Assert.All(halves, h => Assert.Equal(4, h.Count));
        Assert.NotEqual(halves[0].Ids, halves[1].Ids);
        Assert.Equal(halves.Select(h => h.Ids), reversed.Select(h => (IReadOnlyList<long>)[.. h.Ids.Order()]));
        Assert.NotEqual(halves[0].Ids, Subsets.Half(Ids(9), 1, seed: 4)[0].Ids);

        // Each example is in 4 of 9: over 2,000 subsets the share's standard deviation is 0.011, five of which are 0.056.
        var many = Subsets.Half(Ids(9), 2000, seed: 1);
        Assert.All(Enumerable.Range(0, 9), i => Assert.Equal(4 / 9.0, many.Average(s => s.Contains(i) ? 1 : 0), 0.056));
    }

    [Fact]
    public void Shares()
    {
        var subsets = Subsets.Random(Ids(10), 0.3, 2, seed: 1);
        Assert.All(subsets, s => Assert.Equal(3, s.Ids.Count));
        Assert.Equal("30% 1 (3 of 10)", subsets[1].ToString());
        Assert.Throws<InfluenceException>(() => Subsets.Random(Ids(10), 1, 2, seed: 1));
        Assert.Throws<InfluenceException>(() => Subsets.Random(Ids(10), 0.05, 2, seed: 1));
    }

    [Fact]
    public void LeavingOut()
    {
        var subsets = Subsets.LeaveOneOut([5, 3, 8], [3]);
        Assert.Equal(["all", "without 3"], subsets.Select(s => s.Name));
        Assert.Equal([5, 8], subsets[1].Ids);
        Assert.Equal([3], subsets[1].RemovedIds);
        Assert.Equal(4, Subsets.LeaveOneOut([5, 3, 8]).Count);

        var groups = Subsets.Without([5, 3, 8], ExampleGroups.FromMembers(("odd", [5, 3]), ("even", [8])));
        Assert.Equal([8], groups[1].Ids);
        Assert.Equal("without even", groups[2].Name);
    }

    [Fact]
    public void MistakesAreNamed()
    {
        var thrown = Assert.Throws<InfluenceException>(() => Subsets.Of([1, 2], ("a", [1]), ("a", [3]), ("", [2])));
        Assert.Contains("found \"a\" twice", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("\"a\" names ids that no training example has: 3", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("found \"\" as a name", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => Subsets.LeaveOneOut([1, 1]));
    }
}
