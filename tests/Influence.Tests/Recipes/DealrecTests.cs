using Influence.Curvature;
using Influence.Estimators;
using Influence.Recipes;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>Influence of removal from a surrogate, plus the effort of the large model.</summary>
public class DealrecTests
{
    [Fact]
    public void BothPartsAreWhatTheyAreByHand()
    {
        using var scope = NewDisposeScope();
        using var small = new Classifier(train: 9);
        using var large = new Classifier(train: 9);
        using var fit = DenseCurvature.Fit(small.Task(), small.Train, new DenseCurvature.Options { Damping = Damping.Absolute(0.1) });
        var state = ModelState.Of(small.Model, small.X);

        var result = new Dealrec { EffortWeight = 0.3 }.Score(small.Task(), fit, small.Train, Head(large), large.Train);

        // The influence on the mean loss is the mean of the influences on each loss.
        using var pairs = new InfluenceFunction(fit) { Tolerance = 0 }.Score(small.Task(), small.Train, small.Train);
        var expected = pairs.Values.mean([0L]).data<double>().ToArray();
        var norms = large.TrainGradients(InHead).Squared().sum(1).sqrt().data<double>().ToArray();
        for (var i = 0; i < 9; i++)
        {
            // Sums over nine examples and a few dozen parameters in float64.
            Assert.Equal(expected[i], result.Influence[i], 1e-10 * expected.Max(Math.Abs));
            Assert.Equal(norms[i], result.Effort[i], 1e-10);
            Assert.Equal(MinMax(expected, i) + (0.3 * MinMax(norms, i)), result.Scores[i], 1e-9);
        }

        Assert.Equal(small.Train.Ids, result.Scores.Ids);
        Assert.Equal(
            result.Scores.Values,
            new Dealrec { EffortWeight = 0.3 }
                .Combine(result.Influence, result.Effort)
                .Scores.Values
        );
        state.AssertUnchanged(small.Model, small.X);
    }

    /// <summary>With the training gradients g and the identity for curvature: g_i . mean g.</summary>
    [Fact]
    public void TheMeasurementOfTheSurrogateDoesNotCount()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 6);
        using var identity = NoCurvature.Fit(c.Task(), c.Train);
        var gradients = c.TrainGradients(); // [N, P]
        var expected = gradients.mv(gradients.mean([0L])).data<double>().ToArray();

        var task = new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Measurement = b => c.Loss(b) * 100 };
        var influence = Dealrec.Influence(task, identity, c.Train);

        for (var i = 0; i < 6; i++)
        {
            Assert.Equal(expected[i], influence[i], 1e-12 * expected.Max(Math.Abs));
        }
    }

    [Fact]
    public void ExamplesMeetByIdInAnyOrder()
    {
        var influence = ExampleScores.Of([1, 2, 3], [0.0, 1, 2]);
        var effort = ExampleScores.Of([3, 1, 2], [5.0, 9, 7]);
        Assert.Equal(
            [1, 1, 1],
            new Dealrec { EffortWeight = 1 }
                .Combine(influence, effort)
                .Scores.Values
        );
        Assert.Equal([9, 7, 5], new Dealrec().Combine(influence, effort).Effort.Values);
    }

    [Fact]
    public void AConstantColumnCountsForNothing()
    {
        var scores = new Dealrec().Combine(ExampleScores.Of([1, 2], [4, 4]), ExampleScores.Of([1, 2], [0, 3])).Scores;
        Assert.Equal([0, 0.5], scores.Values);
    }

    [Fact]
    public void BadInputIsNamed()
    {
        Assert.Throws<InfluenceException>(() => new Dealrec { EffortWeight = -1 });
        var ids = Assert.Throws<InfluenceException>(() =>
            new Dealrec().Combine(ExampleScores.Of([1, 2], [0, 1]), ExampleScores.Of([2, 7], [0, 1]))
        );
        Assert.Contains("lack 1", ids.Message, StringComparison.Ordinal);
        Assert.Contains("lack 7", ids.Message, StringComparison.Ordinal);
        var nan = Assert.Throws<InfluenceException>(() =>
            new Dealrec().Combine(ExampleScores.Of([1, 2], [0, double.NaN]), ExampleScores.Of([1, 2], [0, 1]))
        );
        Assert.Equal([2], nan.ExampleIds);
    }

    [Fact]
    public void NothingStaysAliveAndACancelledCallEnds()
    {
        using var c = new Classifier(train: 6);
        using var identity = NoCurvature.Fit(c.Task(), c.Train);
        new Dealrec().Score(c.Task(), identity, c.Train, Head(c), c.Train);
        var state = ModelState.Of(c.Model, c.X);
        var before = LiveTensors.OnThisThread;
        new Dealrec().Score(c.Task(), identity, c.Train, Head(c), c.Train);
        Assert.Equal(before, LiveTensors.OnThisThread);

        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() =>
            new Dealrec().Score(c.Task(), identity, c.Train, Head(c), c.Train, new Reports(_ => source.Cancel()), source.Token)
        );
        state.AssertUnchanged(c.Model, c.X);
    }

    private static bool InHead(string name) => name.StartsWith("head.", StringComparison.Ordinal);

    private static InfluenceTask Head(Classifier c) => new(c.Model) { TrainingLoss = c.Loss, Layers = LayerSelection.Where(InHead) };

    private static double MinMax(double[] values, int i) => (values[i] - values.Min()) / (values.Max() - values.Min());
}
