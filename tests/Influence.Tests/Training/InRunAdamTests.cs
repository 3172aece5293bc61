using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>In-run values under Adam against the step that it really takes.</summary>
public class InRunAdamTests
{
    /// <summary>Without momentum the values sum to g_val . (weights before - weights after), whatever rows are seen for the first
    /// time.</summary>
    [Theory]
    [InlineData("adam", 0)]
    [InlineData("adam", 0.1)]
    [InlineData("adamw amsgrad", 0)]
    public void ValuesSumToTheProductWithTheStepThatWasTaken(string name, double decay)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(4);
        var (table, head) = (nn.Embedding(9, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var model = new Composite(x => head.call(table.call(x).mean([1])), ("table", table), ("head", head));
        Tensor Loss(Tensor[] t) => nn.functional.cross_entropy(model.call(t[0]), t[1], reduction: nn.Reduction.None);
        var task = new InfluenceTask(model) { TrainingLoss = b => Loss([b["x"], b["y"]]) };
        using optim.Optimizer optimizer =
            name == "adam"
                ? optim.Adam(model.parameters(), 0.01, beta1: 0, weight_decay: decay)
                : optim.AdamW(model.parameters(), 0.01, beta1: 0, weight_decay: decay, amsgrad: true);
        var validation = Tokens(0, 9);
        using var loop = TrainingGradients.Open(task, Tokens(0, 3), validation);

        // Each step brings three tokens that none before it had.
        for (var t = 0; t < 3; t++)
        {
            var batch = Tokens(3 * t, 3 * (t + 1));
            var v = SingleExampleLoop.Gradients(model, Loss, [validation["x"], validation["y"]]).mean([0]).data<double>().ToArray();
            var values = new InRunValues();
            optimizer.zero_grad();
            using (var step = loop.Step(batch, validation))
            {
                step.Accumulate();
                values.Add(step, optimizer);
            }

            var (before, gradient) = (Flat(model, p => p.detach()), Flat(model, p => p.grad!));
            optimizer.step();
            var after = Flat(model, p => p.detach());
            var expected = 0.0;
            for (var p = 0; p < after.Length; p++)
            {
                // The share of the decay in the step is no example's doing.
                var whole = gradient[p] + (decay * before[p]);
                expected += whole == 0 ? 0 : v[p] * (before[p] - after[p]) * gradient[p] / whole;
            }

            // The weights' rounding, 1e-16, against steps of 1e-2.
            Assert.Equal(1, values.Scores().Values.Sum() / expected, 9);
        }
    }

    private static ExampleBatch Tokens(int from, int to)
    {
        long[] ids = [.. Enumerable.Range(from, to - from).Select(i => (long)i)];
        var tokens = tensor(ids).unsqueeze(1).repeat(1, 2); // [B, 2]
        return ExampleBatch.Of(ids, ("x", tokens), ("y", tensor(ids.Select(id => id % 3).ToArray())));
    }

    private static double[] Flat(nn.Module model, Func<Parameter, Tensor> of) =>
        [.. model.parameters().SelectMany(p => of(p).data<double>().ToArray())];
}
