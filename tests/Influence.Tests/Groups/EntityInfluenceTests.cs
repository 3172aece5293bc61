using Influence.Estimators;
using Influence.Groups;
using Influence.Tests.Oracles;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>The recipe for entities: overlapping groups of the examples that name them.</summary>
public class EntityInfluenceTests
{
    /// <summary>An entity's influence is the sum over the examples that name it, and of two entities that of both less what names
    /// both.</summary>
    [Fact]
    public void AnEntityIsTheSumOfItsMentionsAndSharedOnesCountInEach()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 9);
        string[] texts = ["Ada", "Paris", "Ada in Paris", "no one", "Ada", "Paris", "Ada and Paris", "no one", "Ada"];
        string[] entities = ["Ada", "Paris"];
        var either = c.Train.Ids.Where(id => texts[id] != "no one").ToArray();
        var both = c.Train.Ids.Where(id => entities.All(name => texts[id].Contains(name, StringComparison.Ordinal))).ToArray();
        var mentions = ExampleGroups.FromMembers([
            .. entities.Select(name => (name, c.Train.Ids.Where(id => texts[id].Contains(name, StringComparison.Ordinal)))),
            ("either", either),
            ("both", both),
        ]);
        Assert.True(mentions.Overlap);
        using var scores = new TracIn().Score(c.Task(), c.Train, c.Queries);
        var found = new GroupInfluence(new TracIn()).Score(c.Task(), c.Train, mentions, c.Queries);
        for (var q = 0; q < c.Queries.Count; q++)
        {
            var row = scores.ForQuery(q).Values;

            // Float64 sums of nine products in another order.
            Assert.Equal(row[0] + row[2] + row[4] + row[6] + row[8], found.Sum(q, 0), 1e-10);
            Assert.Equal(found.Sum(q, 0) + found.Sum(q, 1) - found.Sum(q, 3), found.Sum(q, 2), 1e-10);
        }
    }
}
