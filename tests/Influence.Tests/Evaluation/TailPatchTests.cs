using Influence.Evaluation;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>One step on a proponent, from weights that are put back.</summary>
public class TailPatchTests
{
    private const double Rate = 1e-5;

    [Fact]
    public void AStepOnTheQueryItselfIsTheRateTimesItsSquaredGradient()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 5);
        var gradients = c.TrainGradients(); // [N, P]
        using var scores = EvaluationCases.Scores(Identity(5));
        var state = ModelState.Of(c.Model, c.X);
        var progress = new Reports();

        var result = Patch(c, scores, progress);

        for (var q = 0; q < 5; q++)
        {
            var expected = Rate * gradients[q].dot(gradients[q]).item<double>();

            // The second order is the rate times a curvature of order ten: a relative 1e-4; 1e-3 leaves room.
            Assert.Equal(1, result.Queries[q].Fall / expected, 1e-3);
        }

        // Every example is tried as a random one: the mean of the rate times all inner products.
        Assert.Equal(1, result.Random.Value / (Rate * gradients.mm(gradients.t()).mean().item<double>()), 1e-2);
        Assert.Equal(result.Proponents.Value - result.Random.Value, result.Difference.Value, 12);
        Assert.Equal(5, progress.All.Count);
        state.AssertUnchanged(c.Model, c.X);
    }

    /// <summary>The measurement is of a layer that the training loss does not reach: gradients that are there already and weight decay do
    /// not move it.</summary>
    [Fact]
    public void WhatTheLossDoesNotReachIsNotSteppedOn()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        using var a = nn.Linear(3, 1, dtype: float64);
        using var b = nn.Linear(3, 1, dtype: float64);
        using var model = new Composite(x => a.call(x) + b.call(x), ("a", a), ("b", b));
        using var scores = EvaluationCases.Scores(Identity(5));
        var x = randn(5, 3, dtype: float64);
        var examples = Examples.FromTensors(("x", x));
        model.call(x).sum().backward();
        var task = new InfluenceTask(model) { TrainingLoss = e => a.call(e["x"]).squeeze(1), Measurement = e => b.call(e["x"]).squeeze(1) };

        var result = new TailPatch().Evaluate(task, examples, examples, scores, m => optim.SGD(m.parameters(), 0.1, weight_decay: 0.5));

        Assert.All(result.Queries, query => Assert.Equal(0, query.Fall));
        using var running = optim.SGD(model.parameters(), 0.1);
        Assert.Contains(
            "the same object twice",
            Assert.Throws<InfluenceException>(() => new TailPatch().Evaluate(task, examples, examples, scores, _ => running)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void WeightsAndGradientsAreBackAfterACancellation()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 5);
        using var scores = EvaluationCases.Scores(Identity(5));
        foreach (var batch in c.Train.Batches())
        {
            c.Loss(batch).sum().backward();
        }

        using var source = new CancellationTokenSource();
        var state = ModelState.Of(c.Model, c.X);

        Assert.Throws<OperationCanceledException>(() => Patch(c, scores, new Reports(p => source.Cancel()), source.Token));

        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void ExamplesThatAreNotThereAreNamed()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 4);
        using var scores = EvaluationCases.Scores(Identity(5));
        Assert.Contains(
            "training examples that are not there: ids 4",
            Assert.Throws<InfluenceException>(() => Patch(c, scores)).Message,
            StringComparison.Ordinal
        );
    }

    private static TailPatch.Result Patch(
        Classifier c,
        InfluenceScores scores,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken token = default
    ) =>
        new TailPatch { Proponents = 1, Bootstrap = EvaluationCases.Quick }.Evaluate(
            c.Task(),
            c.Train,
            c.Train,
            scores,
            model => optim.SGD(model.parameters(), Rate),
            progress,
            token
        );

    private static double[,] Identity(int n)
    {
        var values = new double[n, n];
        for (var i = 0; i < n; i++)
        {
            values[i, i] = 1;
        }

        return values;
    }
}
