using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Tests.Curvature;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>A group's score is the sum of its members', for every layer, estimator and source.</summary>
public class SumOfMembersTests
{
    public static TheoryData<string, string> LayerwiseCases
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var method in LayerwiseMethods.All)
            {
                foreach (
                    var model in new[]
                    {
                        "mlp",
                        "cnn with batch norm",
                        "conv2d strided",
                        "attention causal",
                        "attention grouped-query rotary padded",
                        "tied embedding and head",
                        "embedding with padding index",
                        "layer norm",
                    }
                )
                {
                    data.Add(method, model);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void GradientDotProducts(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (Examples.FromTensors(made.Inputs(9)) with { BatchSize = 4 }, Examples.FromTensors(made.Inputs(4)));
        AssertSums(made.Task(), train, queries, new TracIn());
    }

    [Theory]
    [MemberData(nameof(LayerwiseCases))]
    public void Layerwise(string method, string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (Examples.FromTensors(made.Inputs(9)), Examples.FromTensors(made.Inputs(4)));
        using var fitted = LayerwiseMethods.Fit(method, made.Task(), train);
        AssertSums(made.Task(), train, queries, new InfluenceFunction(fitted) { Tolerance = 0 });
    }

    [Theory]
    [MemberData(nameof(SmallModels.Names), MemberType = typeof(SmallModels))]
    public void DenseAndConjugateGradient(string name)
    {
        using var scope = NewDisposeScope();
        var made = SmallModels.Make(name);
        var (train, queries) = (Examples.FromTensors(made.Inputs(9)), Examples.FromTensors(made.Inputs(4)));
        using var dense = DenseCurvature.Fit(made.Task(), train, new() { Damping = Damping.Absolute(0.1) });
        AssertSums(made.Task(), train, queries, new InfluenceFunction(dense) { Tolerance = 0 });

        // Both sides solve to this residual, each for right-hand sides of its own.
        using var solver = ConjugateGradient.Fit(
            made.Task(),
            train,
            new()
            {
                Damping = Damping.Absolute(0.1),
                Tolerance = 1e-13,
                MaximumIterations = 1000,
            }
        );
        AssertSums(made.Task(), train, queries, new InfluenceFunction(solver) { Tolerance = 0 });
    }

    [Fact]
    public void TracInOverCheckpoints()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 23, queries: 5);
        using var folder = new TempFolder();
        var tracIn = new TracIn { Checkpoints = Saved(c, folder) };
        AssertSums(c.Task(), c.Train with { BatchSize = 4 }, c.Queries, tracIn);

        // One byte: a row at a time, and the checkpoints anew for each.
        AssertSums(c.Task(), c.Train with { BatchSize = 4 }, c.Queries, tracIn with { MemoryBudget = 1 });
    }

    [Fact]
    public void OverlappingGroupsCountInEach()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var groups = ExampleGroups.FromMembers(("all", c.Train.Ids), ("some", [3, 5, 8]), ("one", [5]));
        using var scores = new TracIn().Score(c.Task(), c.Train, c.Queries);
        var found = new GroupInfluence(new TracIn()).Score(c.Task(), c.Train, groups, c.Queries);

        GroupOracle.AssertEqual(GroupOracle.Sums(scores, groups, ExampleGroups.Of(c.Queries.Ids, id => $"query {id}")), found);
        Assert.Equal(["query 0", "query 1", "query 2", "query 3"], found.QueryGroups);
        Assert.Equal("groups overlap: an example counts in each of its groups", found.Metadata.Notes);
        Assert.Equal(11, found.TrainGroups[0].Examples);
        Assert.Equal(found.Sum(2, 2), found.PerExample(2, 2));
    }

    /// <summary>The loss sums over padding, and the mask alone takes it out.</summary>
    [Fact]
    public void PositionMask()
    {
        using var scope = NewDisposeScope();
        var (table, head) = (nn.Embedding(7, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var model = new Composite(x => head.call(table.call(x)), ("table", table), ("head", head));
        model.eval();
        Examples Make(long n) =>
            Examples.FromTensors(("x", randint(0, 7, [n, 5])), ("y", randint(0, 3, [n, 5])), ("mask", randint(1, 6, [n, 1]).gt(arange(5))));
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]),
            PositionMask = b => b["mask"],
        };
        AssertSums(task, Make(13) with { BatchSize = 3 }, Make(4), new TracIn());
    }

    /// <summary>A loader's batches hold all groups; sequences have one length in a batch and another in the next.</summary>
    [Fact]
    public void ALoaderWithMixedGroupsAndLengths()
    {
        using var scope = NewDisposeScope();
        var model = new TinyDecoder();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        using var loader = utils.data.DataLoader(new UnevenSequences(24), 1);
        var train = Examples.FromLoader(loader);
        var queries = TinyDecoder.Sequences(4);
        AssertSums(task, train, queries, new TracIn());

        // Nothing may wait: every piece is passed on at once.
        AssertSums(task, train, queries, new TracIn { MemoryBudget = 1 });
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(4, 3)]
    [InlineData(100, 2)]
    public void LoadersAndTensorsAgree(int batch, int blocks)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 37);
        using var loader = utils.data.DataLoader(utils.data.TensorDataset(c.X.alias(), c.Y.alias()), batch, shuffle: true, seed: 3);
        var task = c.Task(b => Losses.CrossEntropy(c.Model.call(b[0]), b[1]));
        var (tensors, queries) = (Examples.FromTensors(c.X, c.Y) with { BatchSize = 5 }, Examples.FromTensors(c.QueryX, c.QueryY));
        var influence = new GroupInfluence(new TracIn()) { Blocks = blocks };
        var expected = influence.Score(task, tensors, GroupOracle.Mixed(tensors), queries);
        var found = influence.Score(task, Examples.FromLoader(loader), GroupOracle.Mixed(tensors), queries);
        AssertSame(expected, found);
    }

    /// <summary>Sampling and blocks are drawn by id: neither the order nor the size of batches changes sums or errors.</summary>
    [Fact]
    public void OrderAndBatchSizeChangeNothing()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 40);
        var influence = new GroupInfluence(new TracIn())
        {
            MaximumExamples = 8,
            Blocks = 5,
            Seed = 3,
        };
        var groups = GroupOracle.Mixed(c.Train);
        var expected = influence.Score(c.Task(), c.Train, groups, c.Queries);
        var order = randperm(40);
        var ids = order.data<long>().ToArray();
        var permuted = Examples.FromTensors(("x", c.X.index_select(0, order)), ("y", c.Y.index_select(0, order))) with
        {
            Ids = ids,
            BatchSize = 3,
        };
        AssertSame(expected, influence.Score(c.Task(), permuted, groups, c.Queries with { BatchSize = 1 }));
        Assert.True(expected.TrainGroups[0].Sampled);
        Assert.NotEqual(0, expected.SamplingError(0, 0));

        var other = new GroupInfluence(new TracIn())
        {
            MaximumExamples = 8,
            Blocks = 5,
            Seed = 4,
        }.Score(c.Task(), c.Train, groups, c.Queries);
        Assert.NotEqual(expected.Sum(0, 0), other.Sum(0, 0));
    }

    private static List<Checkpoint> Saved(Classifier c, TempFolder folder)
    {
        using var noGrad = no_grad();
        var saved = new List<Checkpoint>();
        foreach (var rate in new[] { 0.5, 0.25, 0.125 })
        {
            c.Head.weight.mul_(1.7);
            saved.Add(Checkpoint.Save(folder.Path($"at {rate}"), c.Model, rate));
        }

        return saved;
    }

    private static void AssertSums(InfluenceTask task, Examples train, Examples queries, TracIn tracIn)
    {
        using var scores = tracIn.Score(task, train, queries);
        var (groups, queryGroups) = (GroupOracle.Mixed(train), GroupOracle.Halves(queries));
        GroupOracle.AssertEqual(
            GroupOracle.Sums(scores, groups, queryGroups),
            new GroupInfluence(tracIn).Score(task, train, groups, queries, queryGroups)
        );
    }

    private static void AssertSums(InfluenceTask task, Examples train, Examples queries, InfluenceFunction function)
    {
        using var scores = function.Score(task, train, queries);
        var (groups, queryGroups) = (GroupOracle.Mixed(train), GroupOracle.Halves(queries));
        GroupOracle.AssertEqual(
            GroupOracle.Sums(scores, groups, queryGroups),
            new GroupInfluence(function).Score(task, train, groups, queries, queryGroups)
        );
    }

    private static void AssertSame(GroupScores expected, GroupScores found)
    {
        Assert.Equal(expected.TrainGroups, found.TrainGroups);
        for (var q = 0; q < expected.QueryGroups.Count; q++)
        {
            for (var g = 0; g < expected.TrainGroups.Count; g++)
            {
                Assert.Equal(expected.Sum(q, g), found.Sum(q, g), 1e-12);
                Assert.Equal(expected.StandardError(q, g), found.StandardError(q, g), 1e-12);
            }
        }
    }

    private sealed class UnevenSequences(int count) : utils.data.Dataset
    {
        public override long Count => count;

        public override Dictionary<string, Tensor> GetTensor(long index)
        {
            var length = 3 + (index % 3);
            return new()
            {
                ["x"] = (arange(length) + index) % TinyDecoder.Vocabulary,
                ["y"] = (arange(length) * index) % TinyDecoder.Vocabulary,
            };
        }
    }
}
