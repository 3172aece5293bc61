using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.PublicTests;

/// <summary>A rule for a layer of one's own, written by the public documentation alone.</summary>
public class LayerRuleTests
{
    public LayerRuleTests() => new RmsNormRule().Register();

    /// <summary>Scores by the rule are those of one backward pass an example, and the report says how they were taken.</summary>
    [Fact]
    public void ARuleGivesTheScoresOfSingleExamples()
    {
        using var scope = NewDisposeScope();
        var (task, train) = Sequences(new RmsNorm(6));
        var (plainTask, _) = Sequences(new PlainRmsNorm(6));
        using var scores = new TracIn().Score(task, train, train.Only([0, 3]));
        using var plain = new TracIn().Score(plainTask, train, train.Only([0, 3]));

        Assert.True((scores.Values - plain.Values).abs().max().item<double>() < 1e-12 * plain.Values.abs().max().item<double>());
        Assert.Equal(0, task.Coverage(train).BySingleExamples);
        Assert.Equal(6, plainTask.Coverage(train).BySingleExamples);
        Assert.Contains(nameof(RmsNorm), task.Coverage(train).ToString(), StringComparison.Ordinal);
    }

    /// <summary>A rule that is wrong is never believed: its parameters are taken by single examples, or the call is refused by
    /// name.</summary>
    [Fact]
    public void AWrongRuleIsFoundOut()
    {
        using var scope = NewDisposeScope();
        new WrongRule().Register();
        var (task, train) = Sequences(new WrongRule.Layer(6));
        InfluenceException? refused = null;
        try
        {
            Assert.Equal(6, task.Coverage(train).BySingleExamples);
        }
        catch (InfluenceException exception)
        {
            refused = exception;
        }

        Assert.True(refused is null || refused.Message.Contains("weight", StringComparison.Ordinal), refused?.Message);
    }

    /// <summary>A linear layer, a layer of interest, a linear layer: sequences of five positions in two classes.</summary>
    private static (InfluenceTask Task, Examples Train) Sequences(nn.Module<Tensor, Tensor> middle)
    {
        manual_seed(3);
        var model = nn.Sequential(
            ("in", nn.Linear(4, 6, dtype: ScalarType.Float64)),
            ("middle", middle),
            ("out", nn.Linear(6, 2, dtype: ScalarType.Float64))
        );
        model.eval();
        var x = randn(7, 5, 4, dtype: ScalarType.Float64);
        var y = tensor(new long[] { 0, 1, 1, 0, 1, 0, 0 });
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => nn.functional.cross_entropy(model.call(b["x"]).mean([1L]), b["y"], reduction: nn.Reduction.None),
        };
        return (task, Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = 3 });
    }
}
