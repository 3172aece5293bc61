using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>A padded batch against its examples one by one without padding.</summary>
public class PositionMaskTests
{
    private static readonly int[] s_lengths = [4, 2, 3, 1];

    /// <summary>The loss leaves padding out itself.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ALossThatMasks(bool withPositionMask)
    {
        using var scope = NewDisposeScope();
        var (table, head, model) = Tagger();
        var (tokens, tags, mask) = Padded();
        Tensor Unpadded(Tensor[] inputs) => Losses.CrossEntropy(model.call(inputs[0]), inputs[1]);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["tokens"]), b["tags"], b["mask"]),
            PositionMask = withPositionMask ? b => b["mask"] : null,
        };

        AssertAsUnpadded(task, model, Unpadded, tokens, tags, mask);
        GC.KeepAlive((table, head));
    }

    /// <summary>The loss sums over padding too; the mask alone takes it out of the gradients.</summary>
    [Fact]
    public void APositionMaskWhereTheLossDoesNotMask()
    {
        using var scope = NewDisposeScope();
        var (table, head, model) = Tagger();
        var (tokens, tags, mask) = Padded();
        Tensor Sum(Tensor tokens, Tensor tags) => Losses.CrossEntropy(model.call(tokens), tags);
        var task = new InfluenceTask(model) { TrainingLoss = b => Sum(b["tokens"], b["tags"].clamp_min(0)), PositionMask = b => b["mask"] };

        AssertAsUnpadded(task, model, inputs => Sum(inputs[0], inputs[1]), tokens, tags, mask);
        Assert.Equal(0, task.Coverage(Examples.FromTensors(("tokens", tokens), ("tags", tags), ("mask", mask))).BySingleExamples);
        GC.KeepAlive((table, head));
    }

    [Theory]
    [InlineData(new long[] { 4 })]
    [InlineData(new long[] { 4, 3 })]
    [InlineData(new long[] { 4, 4, 1 })]
    public void AMaskOfTheWrongShapeIsRefused(long[] shape)
    {
        using var scope = NewDisposeScope();
        var (table, head, model) = Tagger();
        var (tokens, tags, mask) = Padded();
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["tokens"]), b["tags"], b["mask"]),
            PositionMask = b => ones([b.Count, .. shape[1..]], ScalarType.Bool),
        };
        var examples = Examples.FromTensors(("tokens", tokens), ("tags", tags), ("mask", mask));

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, examples, examples));

        Assert.Contains("mask", thrown.Message, StringComparison.OrdinalIgnoreCase);
        GC.KeepAlive((table, head));
    }

    private static void AssertAsUnpadded(
        InfluenceTask task,
        Composite model,
        Func<Tensor[], Tensor> loss,
        Tensor tokens,
        Tensor tags,
        Tensor mask
    )
    {
        var rows = s_lengths.Select(
            (length, i) => SingleExampleLoop.Gradients(model, loss, [tokens[i, ..length].unsqueeze(0), tags[i, ..length].unsqueeze(0)])
        );
        var g = cat([.. rows], 0);
        var examples = Examples.FromTensors(("tokens", tokens), ("tags", tags), ("mask", mask));

        using var scores = new TracIn().Score(task, examples, examples with { BatchSize = 3 });
        var self = new TracIn().SelfInfluence(task, examples);

        InvarianceTests.AssertEqual(g.mm(g.t()), scores.Values);
        InvarianceTests.AssertEqual(g.Squared().sum(1), tensor(self.Values.ToArray()));
    }

    private static (TorchSharp.Modules.Embedding Table, TorchSharp.Modules.Linear Head, Composite Model) Tagger()
    {
        torch.random.manual_seed(3);
        var (table, head) = (nn.Embedding(7, 5, dtype: float64), nn.Linear(5, 3, dtype: float64));
        var model = new Composite(x => head.call(table.call(x).tanh()), ("table", table), ("head", head));
        model.eval();
        return (table, head, model);
    }

    /// <summary>Token 0 and tag -100 stand for nothing.</summary>
    private static (Tensor Tokens, Tensor Tags, Tensor Mask) Padded()
    {
        var mask = stack([.. s_lengths.Select(length => arange(4).lt(length))], 0);
        return (
            randint(0, 7, [4, 4]).masked_fill(mask.logical_not(), 0),
            randint(0, 3, [4, 4]).masked_fill(mask.logical_not(), -100),
            mask
        );
    }
}
