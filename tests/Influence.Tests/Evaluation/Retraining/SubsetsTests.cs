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
    public void ChunksLeaveEveryExampleOutOnce()
    {
        var chunks = Subsets.Chunks(Ids(11, first: 100), 4, seed: 3);

        Assert.Equal(["without chunk 0", "without chunk 1", "without chunk 2", "without chunk 3"], chunks.Select(s => s.Name));
        Assert.Equal([3, 3, 3, 2], chunks.Select(s => s.RemovedIds.Count));
        Assert.Equal(Ids(11, first: 100), chunks.SelectMany(s => s.RemovedIds).Order());
        Assert.All(chunks, s => Assert.Equal(11, s.Ids.Union(s.RemovedIds).Count()));

        var reversed = Subsets.Chunks([.. Ids(11, first: 100).Reverse()], 4, seed: 3);
        Assert.Equal(chunks.Select(s => s.Ids), reversed.Select(s => (IReadOnlyList<long>)[.. s.Ids.Order()]));
        Assert.NotEqual(chunks[0].Ids, Subsets.Chunks(Ids(11, first: 100), 4, seed: 4)[0].Ids);
        Assert.All(Subsets.Chunks(Ids(5), 5, seed: 0), s => Assert.Single(s.RemovedIds));
        Assert.Throws<InfluenceException>(() => Subsets.Chunks(Ids(5), 6, seed: 0));
        Assert.Throws<InfluenceException>(() => Subsets.Chunks(Ids(5), 1, seed: 0));
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
