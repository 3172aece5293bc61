using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>The greedy choice against one that recomputes everything, and training on what was chosen against plain training on
/// it.</summary>
public class OnlineSelectionTests
{
    [Fact]
    public void TheGreedyChoiceIsThatOfRecomputedGains()
    {
        var draws = new Random(3);
        for (var trial = 0; trial < 40; trial++)
        {
            var (count, k, redundancy) = (8, 1 + draws.Next(8), trial % 3);
            double[][] g =
            [
                .. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, 3).Select(_ => (2 * draws.NextDouble()) - 1).ToArray()),
            ];
            var products = g.Select(x => x[0] - (0.5 * x[1])).ToArray();
            var gram = g.SelectMany(x => g.Select(y => Dot(x, y))).ToArray();
            var expected = new List<int>();
            while (expected.Count < k)
            {
                double Gain(int i) => (0.7 * products[i]) - (redundancy * 0.49 * expected.Sum(j => Dot(g[i], g[j])));
                expected.Add(Enumerable.Range(0, count).Except(expected).OrderByDescending(Gain).First());
            }

            var chosen = OnlineSelection.Greedy(products, gram, k, 0.7, redundancy);
            Assert.Equal(expected, chosen.Select(c => c.Position));
        }

        static double Dot(double[] x, double[] y) => x.Zip(y, (a, b) => a * b).Sum();
    }

    /// <summary>Two equal examples: the second one adds nothing new, and a different one takes its place.</summary>
    [Fact]
    public void ADuplicateIsPassedOverWhereOverlapCounts()
    {
        double[] products = [1, 1, 0.9];
        double[] gram = [1, 1, 0, 1, 1, 0, 0, 0, 1];
        Assert.Equal([0, 2], OnlineSelection.Greedy(products, gram, 2, 0.5, 1).Select(c => c.Position));
        Assert.Equal([0, 1], OnlineSelection.Greedy(products, gram, 2, 0.5, 0).Select(c => c.Position));
    }

    [Fact]
    public void TrainingOnTheChoiceIsPlainTrainingOnThoseExamples()
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        using var optimizer = optim.SGD(model.parameters(), 0.5);
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        OnlineSelection.Result choice;
        using (var step = loop.Step(batch, validation))
        {
            choice = new OnlineSelection { Fraction = 0.4 }.Choose(step, optimizer);
            step.Accumulate(choice);
        }

        var actual = PlainBackward.Take(model);
        var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch.Pick(choice.Positions)).mean());
        Assert.Equal(4, choice.Positions.Count);
        Assert.Equal(choice.Positions.Select(p => 10L + p), choice.Ids);

        // Float64 sums in another order.
        Assert.True(PlainBackward.RelativeError(actual, expected) < 1e-10);
    }

    [Fact]
    public void AllOfABatchIsPlainTraining()
    {
        using var scope = NewDisposeScope();
        var (model, batch, validation) = Small();
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        using (var step = loop.Step(batch, validation))
        {
            step.Accumulate(new OnlineSelection { Fraction = 1 }.Choose(step, 0.1));
        }

        var actual = PlainBackward.Take(model);
        Assert.True(PlainBackward.RelativeError(actual, PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean())) < 1e-10);
    }

    [Fact]
    public void BadInputIsNamed()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<InfluenceException>(() => new OnlineSelection { Fraction = 0 });
        Assert.Throws<InfluenceException>(() => new OnlineSelection { Redundancy = -1 });
        var (model, batch, validation) = Small();
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        using var step = loop.Step(batch, validation);
        var choice = new OnlineSelection().Choose(step, 0.1);
        Assert.Throws<InfluenceException>(() => new OnlineSelection().Choose(step, -1));
        using var alone = loop.Step(batch.Pick([0, 1]));
        Assert.Contains(
            "validation batch",
            Assert.Throws<InfluenceException>(() => new OnlineSelection().Choose(alone, 0.1)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains("found 10", Assert.Throws<InfluenceException>(() => alone.Accumulate(choice)).Message, StringComparison.Ordinal);
    }

    private static (Sequential Model, ExampleBatch Batch, ExampleBatch Validation) Small()
    {
        random.manual_seed(11);
        return (nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Tanh(), nn.Linear(4, 3, dtype: float64)), Batch(10), Batch(3));

        static ExampleBatch Batch(int count) =>
            ExampleBatch.Of(
                [.. Enumerable.Range(10, count).Select(i => (long)i)],
                ("x", randn([count, 5], dtype: float64)),
                ("y", randint(0, 3, [count]))
            );
    }

    private static InfluenceTask Task(nn.Module<Tensor, Tensor> model) =>
        new(model) { TrainingLoss = b => nn.functional.cross_entropy(model.call(b["x"]), b["y"], reduction: nn.Reduction.None) };
}
