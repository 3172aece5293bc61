using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>What the audit must find before anything is scored.</summary>
public class AuditTests
{
    /// <summary>A table of classes that is multiplied with has no example axis and may not be given one.</summary>
    [Fact]
    public void ATableThatIsMultipliedWith()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(1);
        var (hidden, items) = (nn.Linear(5, 3, dtype: float64), nn.Embedding(6, 3, dtype: float64));
        var model = new Composite(x => hidden.call(x).matmul(items.call(arange(6)).transpose(0, 1)), ("hidden", hidden), ("items", items));
        AssertExact(model, t => Losses.CrossEntropy(model.call(t[0]), t[1]), randn(7, 5, dtype: float64), randint(0, 6, [7]));
    }

    [Fact]
    public void APositionTableThatIsExpandedByHand()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(2);
        var (input, positions, head) = (
            nn.Linear(5, 3, dtype: float64),
            nn.Embedding(4, 3, dtype: float64),
            nn.Linear(3, 2, dtype: float64)
        );
        var model = new Composite(
            x => head.call((input.call(x) + positions.call(arange(4)).unsqueeze(0).expand(x.shape[0], 4, 3)).tanh()),
            ("input", input),
            ("positions", positions),
            ("head", head)
        );
        AssertExact(
            model,
            t => ModelCase.SquaredNorm(model.call(t[0]), t[1]),
            randn(6, 4, 5, dtype: float64),
            randn(6, 4, 2, dtype: float64)
        );
    }

    /// <summary>The measurement goes another way through the model than the training loss.</summary>
    [Fact]
    public void AMeasurementThatUsesAWeightDirectly()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        var (body, head) = (nn.Linear(5, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var model = new Composite(x => head.call(body.call(x).tanh()), ("body", body), ("head", head));
        model.eval();
        var (x, y) = (randn(6, 5, dtype: float64), randint(0, 3, [6]));
        Tensor Measured(Tensor[] t) => (head.call(body.call(t[0]).tanh()).Squared() + head.weight.Squared().sum()).sum(1);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]),
            Measurement = b => Measured([b[0]]),
        };
        var g = SingleExampleLoop.Gradients(model, t => Losses.CrossEntropy(model.call(t[0]), t[1]), [x, y]);
        var q = SingleExampleLoop.Gradients(model, Measured, [x]);

        using var scores = new TracIn().Score(task, Examples.FromTensors(x, y), Examples.FromTensors(x, y));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-10);
    }

    [Fact]
    public void AMeasurementByForwardOrOverTheBatchIsRefused()
    {
        using var scope = NewDisposeScope();
        var (body, head) = (nn.Linear(5, 4), nn.Linear(4, 3));
        var model = new Composite(x => head.call(body.call(x).tanh()), ("body", body), ("head", head));
        model.eval();
        var examples = Examples.FromTensors(randn(6, 5), randint(0, 3, [6]));
        InfluenceTask Task(Func<ExampleBatch, Tensor> measurement) =>
            new(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]), Measurement = measurement };

        var thrown = Assert.Throws<InfluenceException>(() =>
            new TracIn().Score(Task(b => Losses.CrossEntropy(head.forward(body.call(b[0]).tanh()), b[1])), examples, examples)
        );
        Assert.Contains("forward", thrown.Message, StringComparison.Ordinal);
        thrown = Assert.Throws<InfluenceException>(() =>
            new TracIn().Score(Task(b => Losses.CrossEntropy(model.call(b[0] - b[0].mean([0], keepdim: true)), b[1])), examples, examples)
        );
        Assert.Contains("mixes", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>Only some examples are written to: those with padding, here not the two with the largest losses.</summary>
    [Fact]
    public void AnInPlaceWriteToSomeExamples()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(4);
        var (first, second) = (nn.Linear(3, 4, dtype: float64), nn.Linear(4, 1, dtype: float64));
        var x = randn(8, 5, 3, dtype: float64);
        var pad = zeros([8, 5], ScalarType.Bool);
        pad.narrow(0, 4, 4).narrow(1, 2, 3).fill_(true);
        var model = new Composite(x => second.call(first.call(x).tanh()), ("first", first), ("second", second));
        Tensor Loss(Tensor[] t) => model.call(t[0]).squeeze(2).masked_fill_(t[1], 0).add(2).Squared().sum(1);
        AssertExact(model, Loss, x, pad);
    }

    [Fact]
    public void AnEmbeddingThatRewritesItsWeightsIsRefusedAndLeftAsItWas()
    {
        using var scope = NewDisposeScope();
        var table = nn.Embedding(5, 3, max_norm: 0.1);
        table.eval();
        var before = table.weight!.detach().clone();
        var examples = Examples.FromTensors(randint(0, 5, [4, 2]));
        var task = new InfluenceTask(table) { TrainingLoss = b => table.call(b[0]).sum([1, 2]) };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(task, examples));

        Assert.Contains("max_norm", thrown.Message, StringComparison.Ordinal);
        Assert.True(table.weight!.equal(before).all().item<bool>());
    }

    /// <summary>A tied weight of which the query reaches one use only.</summary>
    [Fact]
    public void AMeasurementOnOneUseOfATiedWeight()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(5);
        var (table, head) = (nn.Embedding(7, 4, dtype: float64), nn.Linear(4, 7, hasBias: false, dtype: float64));
        head.weight = table.weight!;
        var model = new Composite(x => head.call(table.call(x).tanh()), ("table", table), ("head", head));
        model.eval();
        var (x, y) = (randint(0, 7, [6, 3]), randint(0, 7, [6, 3]));
        Tensor Measured(Tensor[] t) => table.call(t[0]).sin().sum([1, 2]);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]),
            Measurement = b => Measured([b[0]]),
        };
        var g = SingleExampleLoop.Gradients(model, t => Losses.CrossEntropy(model.call(t[0]), t[1]), [x, y]);
        var q = SingleExampleLoop.Gradients(model, Measured, [x]);

        using var scores = new TracIn().Score(task, Examples.FromTensors(x, y), Examples.FromTensors(x, y));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, q.mm(g.t())) < 1e-10);
    }

    private static void AssertExact(nn.Module<Tensor, Tensor> model, Func<Tensor[], Tensor> loss, params Tensor[] inputs)
    {
        model.eval();
        var g = SingleExampleLoop.Gradients(model, loss, inputs);
        var task = new InfluenceTask(model) { TrainingLoss = b => loss([.. Enumerable.Range(0, b.Names.Count).Select(i => b[i])]) };

        using var scores = new TracIn().Score(task, Examples.FromTensors(inputs), Examples.FromTensors(inputs) with { BatchSize = 3 });

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.mm(g.t())) < 1e-10);
    }
}
