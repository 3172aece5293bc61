using Influence.Estimators;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>Holds scores and training steps against a loop over single examples by plain autograd.</summary>
internal static class PlainAutograd
{
    private const double Rounding = 1e-9;

    /// <summary>Every example's gradient, <c>[N, P]</c>, of all parameters as autograd and an optimizer see them.</summary>
    public static Tensor Gradients(
        nn.Module model,
        Func<ExampleBatch, Tensor> loss,
        (string Name, Tensor Tensor)[] data,
        Func<string, bool>? include = null
    )
    {
        using var scope = NewDisposeScope();
        List<Tensor> rows = [];
        for (var i = 0L; i < data[0].Tensor.shape[0]; i++)
        {
            var one = Batch(data, i, 1);
            var gradients = PlainBackward.Of(model, () => loss(one).sum());
            rows.Add(cat([.. gradients.Where(g => include?.Invoke(g.Key) != false).Select(g => g.Value.reshape(-1))], 0));
        }

        return stack([.. rows], 0).MoveToOuterDisposeScope();
    }

    /// <summary>TracIn's scores of every pair and every example with itself are the products of the gradients.</summary>
    public static void AssertScores(
        nn.Module model,
        Func<ExampleBatch, Tensor> loss,
        int batchSize,
        params (string Name, Tensor Tensor)[] data
    )
    {
        model.eval();
        var g = Gradients(model, loss, data);
        var task = new InfluenceTask(model) { TrainingLoss = loss };
        var examples = Examples.FromTensors(data) with { BatchSize = batchSize };

        using var scores = new TracIn().Score(task, examples, examples);
        var self = new TracIn().SelfInfluence(task, examples);

        AssertSmall("scores", SingleExampleLoop.RelativeError(scores.Values, g.mm(g.t())));
        AssertSmall("self-influence", SingleExampleLoop.RelativeError(tensor(self.Values.ToArray()), g.Squared().sum(1)));
    }

    /// <summary>
    /// A step on all the examples leaves the .grad that a plain backward pass leaves, weighted or not, and norms are those of the
    /// parameters that the loop says have a layer rule. It is opened on the first few examples, which show nothing.
    /// </summary>
    public static void AssertTrains(
        nn.Module model,
        Func<ExampleBatch, Tensor> loss,
        int opened,
        params (string Name, Tensor Tensor)[] data
    )
    {
        model.eval();
        var count = data[0].Tensor.shape[0];
        var batch = Batch(data, 0, count);
        var task = new InfluenceTask(model) { TrainingLoss = loss };
        var w = (arange(count, ScalarType.Float64) - 2).cos();
        var (mean, weighted) = (PlainBackward.Of(model, () => loss(batch).mean()), PlainBackward.Of(model, () => (loss(batch) * w).sum()));
        model.zero_grad();
        using var loop = TrainingGradients.Open(task, Batch(data, 0, opened));

        using (var step = loop.Step(batch))
        {
            step.Accumulate();
            AssertSmall(".grad", PlainBackward.RelativeError(PlainBackward.Take(model), mean));
            var rules = ByRule(loop);
            if (rules.Count > 0)
            {
                var g = Gradients(model, loss, data, rules.Contains);
                AssertSmall("norms", SingleExampleLoop.RelativeError(step.GradientNorms(), g.Squared().sum(1).sqrt()));
            }
        }

        using (var step = loop.Step(batch))
        {
            step.Accumulate(w);
            AssertSmall("weighted .grad", PlainBackward.RelativeError(PlainBackward.Take(model), weighted));
        }
    }

    /// <summary>The names of the parameters that have a layer rule.</summary>
    public static HashSet<string> ByRule(TrainingGradients loop) =>
        [.. loop.Coverage.Parameters.Where(p => p.Method is not ("single examples" or "left out")).SelectMany(p => p.Name.Split(" = "))];

    private static void AssertSmall(string what, double error) =>
        Assert.True(error < Rounding, $"{what}: {error:0.0e0} beside plain autograd");

    public static ExampleBatch Batch((string Name, Tensor Tensor)[] data, long first, long count) =>
        ExampleBatch.Of(
            [.. Enumerable.Range((int)first, (int)count).Select(i => (long)i)],
            [.. data.Select(d => (d.Name, d.Tensor.narrow(0, first, count)))]
        );
}
