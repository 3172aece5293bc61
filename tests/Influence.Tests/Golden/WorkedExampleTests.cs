using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Golden;

/// <summary>Small cases worked out by hand; float64, so that 1e-12 leaves room for rounding only.</summary>
public class WorkedExampleTests
{
    private const int Digits = 12;

    /// <summary>Least squares: the first checkpoint gives nothing, since the query is fitted there.</summary>
    [Fact]
    public void TracInOverTwoCheckpointsOfLeastSquares()
    {
        using var scope = NewDisposeScope();
        using var folder = new TempFolder();
        var (layer, task) = LeastSquares();
        var checkpoints = new List<Checkpoint>();
        foreach (var (w, rate) in new[] { (new[] { 0.0, 0.0 }, 0.1), (new[] { 0.5, 1.0 }, 0.05) })
        {
            Set(layer, w);
            checkpoints.Add(Checkpoint.Save(folder.Path($"{rate}.safetensors"), layer, rate));
        }

        using var scores = new TracIn { Checkpoints = checkpoints }.Score(task, Rows, Query);

        Assert.Equal(0.0125, scores[0, 0], Digits);
        Assert.Equal(-0.025, scores[0, 1], Digits);
        Assert.Equal(0, scores[0, 2], Digits);
    }

    /// <summary>On a quadratic: the fall of the query's loss in one step is rate * score - rate^2/2 * g'Hg, exactly.</summary>
    [Fact]
    public void TheScoreIsTheFallOfTheLossToFirstOrder()
    {
        using var scope = NewDisposeScope();
        var (layer, task) = LeastSquares();
        Set(layer, [0.5, 1]);
        using var scores = new TracIn().Score(task, Rows, Query);

        const double Rate = 0.05;
        var before = QueryLoss();
        Set(layer, [0.5 + (Rate * 0.5), 1]);
        var fall = before - QueryLoss();

        Assert.Equal(0.0121875, fall, Digits);
        Assert.Equal(fall, (Rate * scores[0, 0]) - (0.5 * Rate * Rate * 0.25), Digits);

        double QueryLoss()
        {
            using var noGrad = no_grad();
            return (
                layer
                    .call(
                        tensor(
                            new[,]
                            {
                                { 1.0, -1.0 },
                            }
                        )
                    )
                    .Squared() / 2
            ).item<double>();
        }
    }

    /// <summary>Two sequences of two positions: over pairs of positions, never sums of factors.</summary>
    [Theory]
    [InlineData(nameof(Contraction.Ghost))]
    [InlineData(nameof(Contraction.Dense))]
    [InlineData(nameof(Contraction.Factored))]
    public void ProductOfTwoSequences(string contraction)
    {
        using var scope = NewDisposeScope();
        var (task, examples) = TwoSequences();

        using var scores = new TracIn().Score(task, examples, examples);
        var self = new TracIn().SelfInfluence(task, examples);

        // G0 = [[1,0],[1,1]], G1 = [[2,0],[0,2]]
        Assert.Equal([3, 4, 4, 8], scores.Values.data<double>().ToArray());
        Assert.Equal(3, self[0], Digits);
        Assert.Equal(8, self[1], Digits);

        using var session = GradientSession.Open(task, examples, null);
        using var noGrad = no_grad();
        using var queries = new QueryGradients(
            [Enum.Parse<Contraction>(contraction)],
            new ContractionPlanner(1 << 20, 8),
            2,
            NewDisposeScope()
        );
        foreach (var batch in examples.Batches())
        {
            using var captured = session.Capture(batch, LossKind.Training);
            queries.Add(captured, withNorms: false);
            queries.Complete();
            Assert.Equal([3, 4, 4, 8], queries.Dot(captured).data<double>().ToArray());
        }
    }

    /// <summary>(p - onehot) . (p' - onehot') = 0.02 and a . a' = 4, or 5 with the bias.</summary>
    [Theory]
    [InlineData(true, 0.10)]
    [InlineData(false, 0.08)]
    public void LastLayerOfASoftmaxClassifier(bool bias, double expected)
    {
        using var scope = NewDisposeScope();
        var task = Softmax(bias);

        using var scores = new TracIn().Score(
            task,
            Examples.FromTensors(
                (
                    "x",
                    tensor(
                        new[,]
                        {
                            { 2.0, 1.0 },
                        }
                    )
                ),
                ("y", tensor(new[] { 2L }))
            ),
            Examples.FromTensors(
                (
                    "x",
                    tensor(
                        new[,]
                        {
                            { 1.0, 2.0 },
                        }
                    )
                ),
                ("y", tensor(new[] { 0L }))
            )
        );

        Assert.Equal(expected, scores[0, 0], Digits);
    }

    /// <summary>p = (0.7, 0.2, 0.1) with label 0: the error's norm is 0.374166, a's is sqrt 5.</summary>
    [Fact]
    public void SelfInfluenceOfASoftmaxClassifier()
    {
        using var scope = NewDisposeScope();
        var self = new TracIn().SelfInfluence(
            Softmax(bias: false),
            Examples.FromTensors(
                (
                    "x",
                    tensor(
                        new[,]
                        {
                            { 1.0, 2.0 },
                        }
                    )
                ),
                ("y", tensor(new[] { 0L }))
            )
        );

        Assert.Equal(0.374166, Math.Sqrt(self[0] / 5), 6);
        Assert.Equal(0.14 * 5, self[0], Digits);
    }

    private static Examples Rows =>
        Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 1.0, 0.0 },
                        { 0.0, 1.0 },
                        { 1.0, 1.0 },
                    }
                )
            ),
            ("y", tensor(new[] { 1.0, 2.0, 2.0 }))
        );

    private static Examples Query =>
        Examples.FromTensors(
            (
                "x",
                tensor(
                    new[,]
                    {
                        { 1.0, -1.0 },
                    }
                )
            ),
            ("y", tensor(new[] { 0.0 }))
        );

    private static (TorchSharp.Modules.Linear Layer, InfluenceTask Task) LeastSquares()
    {
        var layer = nn.Linear(2, 1, hasBias: false, dtype: float64);
        return (layer, new InfluenceTask(layer) { TrainingLoss = b => Losses.SquaredError(layer.call(b["x"]).squeeze(1), b["y"]) / 2 });
    }

    private static (InfluenceTask Task, Examples Examples) TwoSequences()
    {
        var layer = nn.Linear(2, 2, hasBias: false, dtype: float64);
        var a = tensor(new[] { 1.0, 0, 1, 1, 0, 2, 1, -1 }).reshape(2, 2, 2);
        var delta = tensor(new[] { 1.0, 0, 0, 1, 1, 1, 2, 0 }).reshape(2, 2, 2);

        // A loss whose gradient with respect to the layer's output is delta.
        var task = new InfluenceTask(layer) { TrainingLoss = b => (layer.call(b["a"]) * b["delta"]).sum([1, 2]) };
        return (task, Examples.FromTensors(("a", a), ("delta", delta)));
    }

    /// <summary>Weights that give (0.7, 0.2, 0.1) at (1, 2) and (0.1, 0.6, 0.3) at (2, 1).</summary>
    private static InfluenceTask Softmax(bool bias)
    {
        var (u, v) = (tensor(new[] { 0.7, 0.2, 0.1 }).log(), tensor(new[] { 0.1, 0.6, 0.3 }).log());
        var layer = nn.Linear(2, 3, hasBias: bias, dtype: float64);
        using (no_grad())
        {
            layer.weight.copy_(stack([((2 * v) - u) / 3, ((2 * u) - v) / 3], 1));
            layer.bias?.zero_();
        }

        return new InfluenceTask(layer)
        {
            TrainingLoss = b => Losses.CrossEntropy(layer.call(b["x"]), b["y"]),
            Layers = LayerSelection.Last,
        };
    }

    private static void Set(TorchSharp.Modules.Linear layer, double[] weights)
    {
        using var noGrad = no_grad();
        layer.weight.copy_(tensor(weights).reshape(1, -1));
    }
}
