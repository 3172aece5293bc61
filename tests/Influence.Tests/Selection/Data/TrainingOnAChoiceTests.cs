using Influence.Estimators;
using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;
using static TorchSharp.torch.utils.data;

namespace Influence.Tests.Selection;

/// <summary>The whole way, as the README has it: score, select a tenth, train on it by a DataLoader.</summary>
public sealed class TrainingOnAChoiceTests
{
    /// <summary>Scores are right to first order: a small step on the best tenth lowers the target's loss, on the worst it raises
    /// it.</summary>
    [Fact]
    public void AStepOnTheBestTenthHelpsTheTargetAndOneOnTheWorstHarmsIt()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 200, queries: 20);
        using var scores = new TracIn().Score(c.Task(), c.Train, c.Queries);
        using var opposite = new InfluenceScores(-scores.Values, scores.QueryIds, scores.TrainIds, scores.Metadata);
        var (best, worst) = (
            new TopK().Select(scores, SelectionBudget.Fraction(0.1)),
            new TopK().Select(opposite, SelectionBudget.Fraction(0.1))
        );
        Assert.Equal(20, best.Count);
        Assert.Empty(best.Ids.Intersect(worst.Ids));

        var before = TargetLoss(c);
        Assert.True(AfterAStepOn(c, best) < before);
        Assert.True(AfterAStepOn(c, worst) > before);
        Assert.Equal(before, TargetLoss(c), 1e-12); // the steps were taken back, but for rounding
    }

    /// <summary>The gradient of the weighted loss over the data set is that of each example times its weight.</summary>
    [Fact]
    public void WeightsReachTheLoss()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var pool = new SelectionPool(ExampleScores.Of([3, 5, 8], [1, 1, 1]));
        var selected = new Systematic { InverseProbabilityWeights = true }.Select(pool, SelectionBudget.Count(2));
        Assert.All(selected.Weights, weight => Assert.Equal(1.5, weight, 1e-12)); // two of three
        var expected = c.TrainGradients().index_select(0, tensor(selected.Ids.ToArray())).sum(0L) * 1.5;
        Gradient(c, selected);
        var actual = cat(c.Model.parameters().Select(p => p.grad!.flatten()).ToArray());
        Assert.True(allclose(expected, actual, rtol: 1e-6), "float32 weights of a float64 gradient");
    }

    private static double AfterAStepOn(Classifier c, SelectedExamples selected)
    {
        Gradient(c, selected);
        Step(c, -1e-3);
        var loss = TargetLoss(c);
        Step(c, 1e-3);
        return loss;
    }

    private static void Gradient(Classifier c, SelectedExamples selected)
    {
        c.Model.zero_grad();
        using var source = TensorDataset(c.X, c.Y);
        var data = selected.From(source, weighted: true);
        using var loader = DataLoader(data, 8, selected.ShuffledSampler(seed: 1, data.Ids));
        foreach (var batch in loader)
        {
            using var scope = NewDisposeScope();
            (c.PlainLoss([batch[0], batch[1]]) * batch[2]).sum().backward();
        }
    }

    private static void Step(Classifier c, double rate)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var parameter in c.Model.parameters())
        {
            parameter.add_(parameter.grad! * rate);
        }
    }

    private static double TargetLoss(Classifier c)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return c.PlainLoss([c.QueryX, c.QueryY]).mean().item<double>();
    }
}
