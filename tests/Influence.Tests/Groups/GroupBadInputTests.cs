using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>What a caller is told, word for word where it says what to write.</summary>
public class GroupBadInputTests
{
    [Fact]
    public void IdsThatNoExampleHas()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var groups = ExampleGroups.FromMembers(("a", [0, 1]), ("b", [2, 77, 78]));
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new TracIn()).Score(c.Task(), c.Train, groups, c.Queries, ExampleGroups.FromMembers(("q", [9])))
        );
        Assert.Contains(
            "The groups hold ids that none of the training examples has: 77, 78 (in \"b\").",
            thrown.Message,
            StringComparison.Ordinal
        );
        Assert.Contains("The query groups hold ids that none of the queries has: 9 (in \"q\").", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>An empty group cannot be made; see the messages of ExampleGroups.</summary>
    [Fact]
    public void AnEmptyGroup()
    {
        var thrown = Assert.Throws<InfluenceException>(() => ExampleGroups.FromMembers(("a", [1]), ("b", [])));
        Assert.Equal("The group \"b\" is empty: leave it out, or give it at least one id.", thrown.Message);
    }

    /// <summary>A score, and no interval: one example shows no spread.</summary>
    [Fact]
    public void AGroupOfOne()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var scores = new TracIn().Score(c.Task(), c.Train, c.Queries);
        var found = new GroupInfluence(new TracIn()).Score(
            c.Task(),
            c.Train,
            ExampleGroups.FromMembers(("one", [4]), ("two", [5, 6])),
            c.Queries
        );
        Assert.Equal(scores.Values[1, 4].item<double>(), found.Sum(1, 0), 1e-12);
        Assert.True(double.IsNaN(found.StandardError(1, 0)));
        Assert.True(double.IsNaN(found.Interval(1, 0).Lower) && double.IsNaN(found.Interval(1, 0).Upper));
        Assert.True(found.StandardError(1, 1) > 0);
    }

    /// <summary>Examples in no group are left out of the sums, and counted.</summary>
    [Fact]
    public void IdsWithoutAGroup()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 200);
        var evaluated = new HashSet<long>();
        var task = c.Task(b =>
        {
            evaluated.UnionWith(b.Ids);
            return c.Loss(b);
        });
        var found = new GroupInfluence(new TracIn()).Score(
            task,
            c.Train with
            {
                BatchSize = 2,
            },
            ExampleGroups.FromMembers(("a", [8, 9])),
            c.Queries
        );
        Assert.Equal("198 of 200 training examples are in no group", found.Metadata.Notes);

        // Some are looked at by the checks: the first batch, and thirty-two from anywhere.
        Assert.True(evaluated.Count < 50, $"{evaluated.Count} examples were evaluated.");
    }

    [Fact]
    public void ACosine()
    {
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new TracIn { Similarity = TracIn.GradientSimilarity.Cosine })
        );
        Assert.Contains(
            "cosines are not linear in the gradients. Leave Similarity at TracIn.GradientSimilarity.Dot",
            thrown.Message,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(InfluenceFunction.ScoreNormalization.Theta)]
    [InlineData(InfluenceFunction.ScoreNormalization.Loss)]
    public void ANormalisation(InfluenceFunction.ScoreNormalization normalization)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var identity = NoCurvature.Fit(c.Task(), c.Train);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new InfluenceFunction(identity) { Normalization = normalization })
        );
        Assert.Contains($"ScoreNormalization.{normalization} (RelatIF) are not linear", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnAggregation()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var identity = NoCurvature.Fit(c.Task(), c.Train);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new InfluenceFunction(identity) { Aggregation = InfluenceFunction.QueryAggregation.Mean })
        );
        Assert.Contains("queryGroups: ExampleGroups.Of(queries.Ids, _ => \"all queries\")", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Settings()
    {
        Assert.Equal(
            "MaximumExamples is at least 1, not 0.",
            Assert.Throws<InfluenceException>(() => new GroupInfluence(new TracIn()) { MaximumExamples = 0 }).Message
        );
        Assert.Contains(
            "Blocks is at least 1",
            Assert.Throws<InfluenceException>(() => new GroupInfluence(new TracIn()) { Blocks = 0 }).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Tokens()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var groups = ExampleGroups.FromMembers(("a", [0, 1, 2]), ("b", [3, 4]));
        GroupScores Score(Func<ExampleBatch, Tensor> tokens) =>
            new GroupInfluence(new TracIn()) { Tokens = tokens, MaximumExamples = 2 }.Score(c.Task(), c.Train, groups, c.Queries);

        var found = Score(b => tensor(b.Ids.Select(id => id + 1.0).ToArray()));
        Assert.Equal((1 + 2 + 3, 4 + 5), ((int)found.TrainGroups[0].Tokens, (int)found.TrainGroups[1].Tokens));
        Assert.Equal(9, found.TrainGroups[1].ScoredTokens);
        Assert.InRange(found.TrainGroups[0].ScoredTokens, 3, 5);
        Assert.Equal(found.Sum(0, 1) / 9, found.PerToken(0, 1), 1e-15);
        Assert.Contains(
            "found [11, 4]. Sum over the positions",
            Assert.Throws<InfluenceException>(() => Score(b => b["x"])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "ids 3",
            Assert.Throws<InfluenceException>(() => Score(b => tensor(b.Ids.Select(id => id == 3 ? -1.0 : 1).ToArray()))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "none in the group \"b\" of 2 examples",
            Assert.Throws<InfluenceException>(() => Score(b => tensor(b.Ids.Select(id => id < 3 ? 1.0 : 0).ToArray()))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void AGradientThatIsTooLarge()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();

        // Zero, with a slope of 10 * 1e308 for one example.
        var task = c.Task(b =>
            c.Loss(b)
            + ((c.Head.bias!.sum() - c.Head.bias!.sum().detach()) * tensor(b.Ids.Select(id => id == 6 ? 1e308 : 0).ToArray()) * 10)
        );
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new TracIn()) { Blocks = 1 }.Score(
                task,
                c.Train with
                {
                    BatchSize = 2,
                },
                ExampleGroups.FromMembers(("a", [0, 1, 2]), ("b", [5, 6])),
                c.Queries
            )
        );
        Assert.Contains("examples of the group \"b\" is NaN or too large", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([6L], thrown.ExampleIds);
    }

    /// <summary>The query at fault is named, and no training example.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AQueryGradientThatIsTooLarge(bool together)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var task = new InfluenceTask(c.Model)
        {
            TrainingLoss = c.Loss,
            Measurement = b =>
                c.Loss(b)
                + ((c.Head.bias!.sum() - c.Head.bias!.sum().detach()) * tensor(b.Ids.Select(id => id == 2 ? 1e308 : 0).ToArray()) * 10),
        };
        var queryGroups = !together ? null : ExampleGroups.Of(c.Queries.Ids, id => id == 0 ? "first" : "rest");
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupInfluence(new TracIn()).Score(task, c.Train, ExampleGroups.FromMembers(("a", [0, 1, 2])), c.Queries, queryGroups)
        );
        var name = together ? "rest" : "query 2";
        Assert.Contains(
            $"summed measurement gradient of the query group \"{name}\" is NaN or too large",
            thrown.Message,
            StringComparison.Ordinal
        );
        Assert.Equal([2L], thrown.ExampleIds);
    }
}
