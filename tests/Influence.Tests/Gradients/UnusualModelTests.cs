using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Models whose layers do not see one row for each example in order: exact all the same, or refused.</summary>
public sealed class UnusualModelTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public UnusualModelTests() => torch.random.manual_seed(5);

    public void Dispose() => _scope.Dispose();

    /// <summary>Queries of three positions, training examples of five.</summary>
    [Theory]
    [InlineData(3, 5)]
    [InlineData(6, 2)]
    public void SequencesOfTwoLengths(long queryLength, long trainLength)
    {
        var (table, mix, head) = (
            nn.Embedding(9, 4, dtype: float64),
            nn.Conv1d(4, 4, 3, padding: 1, dtype: float64),
            nn.Linear(4, 9, dtype: float64)
        );
        var model = new Composite(
            x => head.call(mix.call(table.call(x).transpose(1, 2)).tanh().transpose(1, 2)),
            ("table", table),
            ("mix", mix),
            ("head", head)
        );
        AssertExact(
            model,
            t => Losses.CrossEntropy(model.call(t[0]), t[1]),
            [randint(0, 9, [6, trainLength]), randint(0, 9, [6, trainLength])],
            [randint(0, 9, [4, queryLength]), randint(0, 9, [4, queryLength])]
        );
    }

    [Theory]
    [InlineData(PaddingModes.Circular)]
    [InlineData(PaddingModes.Reflect)]
    [InlineData(PaddingModes.Replicate)]
    public void ConvolutionsWithOtherPadding(PaddingModes mode)
    {
        var conv = nn.Conv2d(2, 3, 3, padding: 1, padding_mode: mode, dtype: float64);
        AssertExact(
            conv,
            t => conv.call(t[0]).sin().sum([1, 2, 3]),
            [randn(5, 2, 6, 6, dtype: float64)],
            [randn(3, 2, 6, 6, dtype: float64)]
        );
    }

    [Fact]
    public void AModuleRegisteredTwice()
    {
        var layer = nn.Linear(4, 4, dtype: float64);
        var model = new Composite(x => layer.call(layer.call(x).tanh()), ("first", layer), ("second", layer));
        AssertExact(model, t => model.call(t[0]).Squared().sum(1), [randn(5, 4, dtype: float64)], [randn(3, 4, dtype: float64)]);
    }

    /// <summary>Self-attention of linear layers: heads are split off after them, so each sees its examples in order.</summary>
    [Fact]
    public void SelfAttention()
    {
        var (project, head) = (nn.Linear(6, 18, dtype: float64), nn.Linear(6, 3, dtype: float64));
        var model = new Composite(
            x =>
            {
                var (b, t) = (x.shape[0], x.shape[1]);
                var parts = project.call(x).reshape(b, t, 3, 2, 3).permute(2, 0, 3, 1, 4);
                var weights = parts[0].matmul(parts[1].transpose(-1, -2)).softmax(-1);
                return head.call(weights.matmul(parts[2]).transpose(1, 2).reshape(b, t, 6));
            },
            ("project", project),
            ("head", head)
        );
        AssertExact(
            model,
            t => Losses.CrossEntropy(model.call(t[0]), t[1]),
            [randn(7, 4, 6, dtype: float64), randint(0, 3, [7, 4])],
            [randn(2, 4, 6, dtype: float64), randint(0, 3, [2, 4])]
        );
    }

    /// <summary>The number of examples equals the number of positions: sizes alone do not tell which axis is which.</summary>
    [Fact]
    public void PositionsFirstWithAsManyPositionsAsExamples()
    {
        var (a, b) = (nn.Linear(5, 4, dtype: float64), nn.Linear(4, 2, dtype: float64));
        var model = new Composite(x => b.call(a.call(x.transpose(0, 1)).tanh()).transpose(0, 1), ("a", a), ("b", b));
        AssertExact(model, t => model.call(t[0]).Squared().sum([1, 2]), [randn(6, 6, 5, dtype: float64)], [randn(2, 2, 5, dtype: float64)]);
    }

    [Fact]
    public void AMeasurementThroughAnotherHead()
    {
        var (body, head, other) = (nn.Linear(4, 5, dtype: float64), nn.Linear(5, 3, dtype: float64), nn.Linear(5, 1, dtype: float64));
        var model = new Composite(x => head.call(body.call(x).tanh()), ("body", body), ("head", head), ("other", other));
        Tensor Measure(Tensor[] t) => other.call(body.call(t[0]).tanh()).squeeze(1);
        Tensor Train(Tensor[] t) => model.call(t[0]).Squared().sum(1);
        var (train, queries) = (new[] { randn(5, 4, dtype: float64) }, new[] { randn(3, 4, dtype: float64) });
        var expected = SingleExampleLoop.Gradients(model, Measure, queries).mm(SingleExampleLoop.Gradients(model, Train, train).t());

        var task = new InfluenceTask(model) { TrainingLoss = b => Train([b[0]]), Measurement = b => Measure([b[0]]) };
        using var scores = new TracIn().Score(task, Examples.FromTensors(train), Examples.FromTensors(queries));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-12);
    }

    /// <summary>Batch statistics in evaluation mode too: no running ones are kept.</summary>
    [Fact]
    public void BatchNormWithoutRunningStatisticsIsRefused()
    {
        var model = nn.Sequential(
            ("norm", nn.BatchNorm1d(4, track_running_stats: false, dtype: float64)),
            ("head", nn.Linear(3, 2, dtype: float64))
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).Squared().sum([1, 2]) };
        var examples = Examples.FromTensors(randn(5, 4, 3, dtype: float64));
        Assert.Contains(
            "mixes the examples",
            Assert.Throws<InfluenceException>(() => new TracIn().Score(task, examples, examples)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>A mixture of experts: each layer is given the examples that are routed to it and no others.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void LayersThatSeeSomeExamplesOnly(int seed)
    {
        torch.random.manual_seed(seed);
        var (left, right) = (nn.Linear(4, 2, dtype: float64), nn.Linear(4, 2, dtype: float64));
        var model = new Composite(
            x =>
            {
                var goesLeft = x.select(1, 0).gt(0);
                var (l, r) = (goesLeft.nonzero().squeeze(1), goesLeft.logical_not().nonzero().squeeze(1));
                return zeros([x.shape[0], 2], float64)
                    .index_add(0, l, left.call(x.index_select(0, l)), 1)
                    .index_add(0, r, right.call(x.index_select(0, r)), 1);
            },
            ("left", left),
            ("right", right)
        );
        AssertExactOrRefused(model, t => model.call(t[0]).Squared().sum(1), [randn(9, 4, dtype: float64)], [randn(4, 4, dtype: float64)]);
    }

    /// <summary>Experts that are given every example's tokens, with zero rows where none is routed to them: by their rules, and
    /// exact.</summary>
    [Fact]
    public void ExpertsOnTokensWithZeroRows()
    {
        var (left, right) = (nn.Linear(4, 2, dtype: float64), nn.Linear(4, 2, dtype: float64));
        var model = new Composite(
            x =>
            {
                var goesLeft = x.narrow(2, 0, 1).gt(0).to_type(float64); // [B, T, 1]
                return (left.call(x * goesLeft) * goesLeft) + (right.call(x * (1 - goesLeft)) * (1 - goesLeft));
            },
            ("left", left),
            ("right", right)
        );
        var (train, queries) = (randn(9, 5, 4, dtype: float64), randn(4, 5, 4, dtype: float64));
        AssertExact(model, t => model.call(t[0]).Squared().sum([1, 2]), [train], [queries]);
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).Squared().sum([1, 2]) };
        Assert.Equal(0, task.Coverage(Examples.FromTensors(train)).BySingleExamples);
    }

    /// <summary>The first examples do not reach the layer, later ones do.</summary>
    [Fact]
    public void ALayerThatTheFirstExamplesDoNotReach()
    {
        var (always, sometimes) = (nn.Linear(4, 2, dtype: float64), nn.Linear(2, 2, dtype: float64));
        var model = new Composite(
            x => x.select(1, 0).gt(0).any().item<bool>() ? sometimes.call(always.call(x)) * x.narrow(1, 0, 1).gt(0) : always.call(x) * 0,
            ("always", always),
            ("sometimes", sometimes)
        );
        var x = randn(8, 4, dtype: float64);
        x.narrow(1, 0, 1).copy_(tensor(new[] { -1.0, -1, -1, -1, 1, 1, 1, 1 }).unsqueeze(1));
        AssertExactOrRefused(model, t => model.call(t[0]).Squared().sum(1), [x], [x.flip(0)], batchSize: 4);
    }

    private static void AssertExact(nn.Module<Tensor, Tensor> model, Func<Tensor[], Tensor> loss, Tensor[] train, Tensor[] queries)
    {
        model.eval();
        var (g, q) = (SingleExampleLoop.Gradients(model, loss, train), SingleExampleLoop.Gradients(model, loss, queries));
        var task = new InfluenceTask(model) { TrainingLoss = b => loss([.. Enumerable.Range(0, b.Names.Count).Select(i => b[i])]) };

        using var scores = new TracIn().Score(task, Examples.FromTensors(train), Examples.FromTensors(queries));
        var self = new TracIn().SelfInfluence(task, Examples.FromTensors(train));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-12);
        Assert.True(SingleExampleLoop.RelativeError(tensor(self.Values.ToArray()), g.Squared().sum(1)) < 1e-12);
        Assert.Equal(1, task.Coverage(Examples.FromTensors(train)).Fraction);
    }

    /// <summary>Never a wrong score.</summary>
    private static void AssertExactOrRefused(
        nn.Module<Tensor, Tensor> model,
        Func<Tensor[], Tensor> loss,
        Tensor[] train,
        Tensor[] queries,
        int batchSize = 128
    )
    {
        model.eval();
        var (g, q) = (SingleExampleLoop.Gradients(model, loss, train), SingleExampleLoop.Gradients(model, loss, queries));
        var task = new InfluenceTask(model) { TrainingLoss = b => loss([b[0]]) };
        try
        {
            using var scores = new TracIn().Score(
                task,
                Examples.FromTensors(train) with
                {
                    BatchSize = batchSize,
                },
                Examples.FromTensors(queries) with
                {
                    BatchSize = batchSize,
                }
            );
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-12);
        }
        catch (InfluenceException exception)
        {
            Assert.NotEmpty(exception.Message);
        }
    }
}
