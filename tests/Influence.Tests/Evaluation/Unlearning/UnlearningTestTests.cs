using Influence.Evaluation;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Figures of unlearning on numbers whose answer is known.</summary>
public class UnlearningTestTests
{
    private static readonly UnlearningTest s_test = new() { Bootstrap = EvaluationCases.Quick };

    /// <summary>log p/(1-p) of -log p, in both tails.</summary>
    [Theory]
    [InlineData(0.9)]
    [InlineData(0.5)]
    [InlineData(1e-9)]
    public void MarginsFollowFromLosses(double p) => Assert.Equal(Math.Log(p / (1 - p)), UnlearningTest.Margin(-Math.Log(p)), 1e-6);

    [Fact]
    public void MarginsAreClipped()
    {
        Assert.Equal(100, UnlearningTest.Margin(0));
        Assert.Equal(-100, UnlearningTest.Margin(500));

        // p = 1 - 1e-20: the loss is 1e-20, the margin 46.05.
        Assert.Equal(20 * Math.Log(10), UnlearningTest.Margin(1e-20), 1e-6);
    }

    /// <summary>The normal formula by hand: means 1 and 0, variances 4 and 1.</summary>
    [Fact]
    public void TheDivergenceIsThatOfTwoNormals()
    {
        double[] u = [-1, 1, 3],
            r = [-1, 0, 1];
        Assert.Equal(Math.Log(0.5) + ((4 + 1) / 2.0) - 0.5, s_test.Divergence(u, r), 1e-12);
        Assert.Equal(0, s_test.Divergence(r, r), 1e-12);
        Assert.Equal(0.5, new UnlearningTest { LeastDeviation = 1 }.Divergence([1, 1], [0, 0]), 1e-12);
        Assert.True(double.IsNaN(s_test.Divergence([1], r)));
    }

    [Fact]
    public void FiguresByHand()
    {
        long[] forget = [0, 1, 2],
            keep = [3, 4],
            test = [5, 6, 7, 8];
        var losses = new double[,]
        {
            { 1, 2, 3, 0.5, 0.7, 1.5, 2.5, 2.6, 9 },
            { 2, 3, 4, 0.6, 0.8, 1.4, 2.4, 2.7, 9 },
        };
        var runs = Retraining.Result.Of(Subsets.Of([0, 1, 2, 3, 4], ("without", keep)), [.. forget, .. keep, .. test], losses);
        UnlearningTest.ModelLosses[] models =
        [
            .. Enumerable.Range(0, 2).Select(run => UnlearningTest.ModelLosses.FromRun(runs, run, forget, keep, test)),
        ];
        var row = s_test.Compare("retrained", models, models, [3, null], [TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(3)]);
        Assert.Equal(2.5, row.ForgetLoss.Value, 1e-12);
        Assert.Equal(0.65, row.KeepLoss.Value, 1e-12);

        // Pairs in which the forgotten one has the lower loss: 4 + 3 + 1 of 12, and 3 + 1 + 1 of 12.
        Assert.Equal((8 + 5) / 24.0, row.MembershipAuc.Value, 1e-12);
        Assert.Equal(0, row.ForgetKlom.Value, 1e-12);
        Assert.Equal(TimeSpan.FromSeconds(2), row.Cost);
        Assert.Contains("3 never", row.ToString(), StringComparison.Ordinal);
        Assert.True(double.IsNaN(s_test.Compare("one", models[..1], models).ForgetKlom.Value));
        Assert.Contains(
            "no queries of the ids 77",
            Assert.Throws<InfluenceException>(() => UnlearningTest.ModelLosses.FromRun(runs, 0, [77], keep, test)).Message,
            StringComparison.Ordinal
        );
        var other = UnlearningTest.ModelLosses.FromRun(runs, 0, [0, 1], [2, 3, 4], test);
        Assert.Contains(
            "same examples",
            Assert.Throws<InfluenceException>(() => s_test.Compare("x", models, [other])).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>Losses are the model's, and relearning counts the steps of a loop that is written out; the model is as before.</summary>
    [Fact]
    public void RelearningCountsSteps()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 12);
        var (forget, keep) = (c.Train.Only([0L, 1, 2]), c.Train.Only([3L, 4, 5]));
        var measured = UnlearningTest.Measure(c.Task(), forget, keep, c.Queries);
        var expected = c.PlainLoss([c.X, c.Y]).data<double>().ToArray();
        Assert.All(measured.Forget.Index(), e => Assert.Equal(expected[e.Index], e.Item, 1e-12));
        var state = ModelState.Of(c.Model, c.X);
        var target = measured.Forget.Average() * 0.6;
        var steps = UnlearningTest.RelearningSteps(c.Task(), forget, target, m => optim.SGD(m.parameters(), 0.2));
        state.AssertUnchanged(c.Model, c.X);
        Assert.Equal(0, UnlearningTest.RelearningSteps(c.Task(), forget, 100, m => optim.SGD(m.parameters(), 0.2)));
        Assert.Null(UnlearningTest.RelearningSteps(c.Task(), forget, 0, m => optim.SGD(m.parameters(), 0.2), maximumSteps: 3));

        using var twin = new Classifier(train: 12);
        using var sgd = optim.SGD(twin.Model.parameters(), 0.2);
        var (x, y) = (twin.X.narrow(0, 0, 3), twin.Y.narrow(0, 0, 3));
        var count = 0;
        while (twin.PlainLoss([x, y]).mean().item<double>() > target)
        {
            sgd.zero_grad();
            twin.PlainLoss([x, y]).mean().backward();
            sgd.step();
            count++;
        }

        Assert.Equal(count, steps);
        Assert.True(count > 1, "too easy to tell steps apart");
    }
}
