using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>What must not change a score. All in float64, where another order of summation moves the 14th digit.</summary>
public class InvarianceTests
{
    private const double Rounding = 1e-12;

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 2)]
    [InlineData(100, 100)]
    public void BatchSizes(int train, int queries)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var scores = new TracIn().Score(c.Task(), c.Train with { BatchSize = train }, c.Queries with { BatchSize = queries });
        var self = new TracIn().SelfInfluence(c.Task(), c.Train with { BatchSize = train });

        var g = c.TrainGradients();
        AssertEqual(c.QueryGradients().mm(g.t()), scores.Values);
        AssertEqual(g.Squared().sum(1), tensor(self.Values.ToArray()));
        Assert.Equal([11, 4], [scores.TrainIds.Count, scores.QueryIds.Count]);
    }

    [Fact]
    public void TheOrderOfExamples()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var expected = new TracIn().Score(c.Task(), c.Train, c.Queries);

        long[] order = [7, 2, 9, 0, 10, 4, 1, 8, 3, 6, 5];
        var index = tensor(order);
        var permuted = Examples.FromTensors(("x", c.X.index_select(0, index)), ("y", c.Y.index_select(0, index)));
        permuted = permuted with { Ids = order, BatchSize = 4 };
        using var scores = new TracIn().Score(c.Task(), permuted, c.Queries);

        Assert.Equal(order, scores.TrainIds);
        AssertEqual(expected.Values.index_select(1, index), scores.Values);
        Assert.Equal(expected.Proponents(1).Ids, scores.Proponents(1).Ids);
    }

    /// <summary>With one byte a single query is kept at once: the training examples pass by once for each.</summary>
    [Theory]
    [InlineData(TracIn.GradientSimilarity.Dot)]
    [InlineData(TracIn.GradientSimilarity.Cosine)]
    public void MemoryBudget(TracIn.GradientSimilarity similarity)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var expected = new TracIn { Similarity = similarity }.Score(c.Task(), c.Train, c.Queries);

        var reports = new Reports();
        using var scores = new TracIn { Similarity = similarity, MemoryBudget = 1 }.Score(
            c.Task(),
            c.Train,
            c.Queries with
            {
                BatchSize = 1,
            },
            reports
        );

        AssertEqual(expected.Values, scores.Values);
        Assert.Equal(4 * 11, reports.All[^1].Total);
        Assert.Equal(4 * 11, reports.All[^1].Done);
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void MemoryBudgetAndBatchSizesForEveryLayer(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (Examples.FromTensors(made.Inputs(5)), Examples.FromTensors(made.Inputs(3)));
        using var expected = new TracIn().Score(made.Task(), train, queries);
        using var scores = new TracIn { MemoryBudget = 1 }.Score(made.Task(), train with { BatchSize = 2 }, queries with { BatchSize = 2 });

        AssertEqual(expected.Values, scores.Values);
    }

    [Fact]
    public void Threads()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 200);
        var threads = get_num_threads();
        try
        {
            set_num_threads(1);
            using var one = new TracIn().Score(c.Task(), c.Train, c.Queries);
            set_num_threads(2);
            using var two = new TracIn().Score(c.Task(), c.Train, c.Queries);
            AssertEqual(one.Values, two.Values);
        }
        finally
        {
            set_num_threads(threads);
        }
    }

    /// <summary>Scores add up: the group's is the one of the summed loss's gradient.</summary>
    [Fact]
    public void AGroupIsTheSumOfItsMembers()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var scores = new TracIn().Score(c.Task(), c.Train, c.Queries);

        c.Model.zero_grad();
        c.PlainLoss([c.X, c.Y]).sum().backward();
        var summed = cat([.. c.Model.parameters().Select(p => p.grad!.reshape(-1))], 0);
        c.Model.zero_grad();

        AssertEqual(c.QueryGradients().mv(summed), scores.Values.sum(1));
    }

    [Fact]
    public void TheDiagonalOfPairsIsSelfInfluence()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        using var c = new Classifier();
        var checkpoints = new[] { Checkpoint.Save(folder.Path("a"), c.Model, 0.3), Checkpoint.Save(folder.Path("b"), c.Model, 0.2) };
        var tracin = new TracIn { Checkpoints = checkpoints };
        using var pairs = tracin.Score(c.Task(), c.Train, c.Train);
        var self = tracin.SelfInfluence(c.Task(), c.Train);

        AssertEqual(pairs.Values.diagonal(), tensor(self.Values.ToArray()));
        AssertEqual(pairs.Values.t(), pairs.Values);
        AssertEqual(0.5 * c.TrainGradients().Squared().sum(1), tensor(self.Values.ToArray()));
    }

    [Fact]
    public void AMeasurementOtherThanTheTrainingLoss()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        Tensor Margin(Tensor x) => c.Model.call(x).select(1, 0) - c.Model.call(x).select(1, 2);
        var task = new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Measurement = b => Margin(b["x"]) };

        using var scores = new TracIn().Score(task, c.Train, Examples.FromTensors(("x", c.QueryX)));

        var q = SingleExampleLoop.Gradients(c.Model, inputs => Margin(inputs[0]), [c.QueryX]);
        AssertEqual(q.mm(c.TrainGradients().t()), scores.Values);
    }

    internal static void AssertEqual(Tensor expected, Tensor actual)
    {
        var error = SingleExampleLoop.RelativeError(actual, expected);
        Assert.True(error < Rounding, $"relative error {error:E2}");
    }
}
