using Influence.Tests.Oracles;
using Influence.Unlearning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Unlearning;

/// <summary>Steps and masks by hand.</summary>
public class GradientUnlearningTests
{
    private static readonly long[] s_forget = [0, 4, 9];

    /// <summary>One step over whole sets is the rate times the mean gradients, with the objective's signs; rounding of sums in
    /// float64.</summary>
    [Fact]
    public void OneStepIsTheGradients()
    {
        using var problem = new LeastSquares();
        problem.Set([0.3, -0.2, 0.5]);
        long[] keep = [.. problem.Train.Ids.Except(s_forget)];
        var (f, k, w) = (problem.MeanGradient(s_forget), problem.MeanGradient(keep), problem.Weights);
        const double Rate = 0.1;
        Equal(GradientUnlearning.FineTuning, (_, kept) => -kept);
        Equal(GradientUnlearning.Ascent, (forget, _) => forget);
        Equal(GradientUnlearning.Difference, (forget, kept) => forget - kept);
        Equal(
            GradientUnlearning.Relabelling(b => 3 * problem.Task.TrainingLoss(b)) with
            {
                ByCount = false,
            },
            (forget, kept) => -kept - (3 * forget)
        );

        // As one loader over both sets would have it: every example weighs the same.
        double n = problem.Train.Count;
        Equal(
            GradientUnlearning.Relabelling(b => 3 * problem.Task.TrainingLoss(b)),
            (forget, kept) => -((keep.Length * kept) + (s_forget.Length * 3 * forget)) / n
        );
        Equal(
            GradientUnlearning.Difference with
            {
                ByCount = true,
            },
            (forget, kept) => ((s_forget.Length * forget) - (keep.Length * kept)) / n
        );
        Equal(new InfluenceApproximation { LearningRate = Rate }, (forget, kept) => forget - kept);
        Equal(new InfluenceApproximation { LearningRate = Rate, BySign = true }, (forget, kept) => Math.Sign(forget - kept));

        void Equal(UnlearningMethod method, Func<double, double, double> direction)
        {
            var run = method is GradientUnlearning gradient ? gradient with { Steps = 1, BatchSize = 100, LearningRate = Rate } : method;
            using var unlearned = run.Unlearn(problem.Task, problem.Train, s_forget);
            var found = unlearned.Tensors["weight"].reshape(-1).data<double>().ToArray();
            Assert.All(Enumerable.Range(0, 3), i => Assert.Equal(w[i] + (Rate * direction(f[i], k[i])), found[i], 1e-12));
        }
    }

    /// <summary>With g_K = 0 (at the optimum of what is kept) and a curvature like the identity, IAU's direction is that of the influence
    /// step.</summary>
    [Fact]
    public void IauGoesAlongTheForgottenGradientAtAnOptimum()
    {
        using var problem = new LeastSquares();
        problem.Fit([.. problem.Train.Ids.Except(s_forget)]);
        var (f, w) = (problem.MeanGradient(s_forget), problem.Weights);
        using var unlearned = new InfluenceApproximation { LearningRate = 0.5 }.Unlearn(problem.Task, problem.Train, s_forget);
        var found = unlearned.Tensors["weight"].reshape(-1).data<double>().ToArray();
        Assert.All(Enumerable.Range(0, 3), i => Assert.Equal(w[i] + (0.5 * f[i]), found[i], 1e-12));
    }

    /// <summary>The sheet's WAGLE example, and the largest magnitudes: floor(share P) of them.</summary>
    [Fact]
    public void MasksByHand()
    {
        using var scope = NewDisposeScope();
        var wagle = WeightSaliency.Wagle(share: 0.5, gamma: 1);
        var scores = wagle.Scores(tensor(new[] { 1.0, 2.0 }), tensor(new[] { 0.5, -1.0 }), tensor(new[] { 0.3, 0.1 }));
        Assert.All(scores.data<double>().ToArray().Zip([0.35, -1.9]), pair => Assert.Equal(pair.Second, pair.First, 1e-12));
        Assert.Equal([false, true], wagle.Highest(scores).data<bool>().ToArray());

        var gradient = tensor(new[] { 0.1, -5, 0, 3, -0.2, 4, 1 });
        Assert.Equal([false, true, false, true, false, true, false], WeightSaliency.Salun(0.5).Highest(gradient).data<bool>().ToArray());
        Assert.Equal(7, WeightSaliency.Salun(1).Highest(gradient).sum().item<long>());
        Assert.Equal(2, WeightSaliency.Salun(0.3).Highest(gradient).sum().item<long>());
        Assert.Throws<InfluenceException>(() => WeightSaliency.Salun(0));
        Assert.Throws<InfluenceException>(() => WeightSaliency.Wagle(1.1));
    }

    /// <summary>What the mask holds stays to the last bit, under momentum and weight decay too; the mask is that of the loop's
    /// gradients.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void OnlyMaskedWeightsMove(bool salun)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        var gradients = c.TrainGradients(); // [N, P]
        long[] keep = [.. c.Train.Ids.Except(s_forget)];
        var (f, k) = (gradients.index_select(0, tensor(s_forget)).mean([0]), gradients.index_select(0, tensor(keep)).mean([0]));
        var before = cat([.. c.Model.parameters().Select(p => p.detach().reshape(-1).clone())], 0);
        var importance = (salun ? f : (before * f) - (k * f / 0.5)).abs().data<double>().ToArray();
        var count = (int)(0.25 * importance.Length);
        var open = importance.Index().OrderByDescending(pair => pair.Item).Take(count).Select(pair => pair.Index).ToHashSet();
        var method = GradientUnlearning.Relabelling(b =>
            Losses.CrossEntropy(c.Model.call(b["x"]), GradientUnlearning.OtherLabels(b, "y", Classifier.Classes))
        ) with
        {
            Steps = 5,
            Optimizer = model => optim.SGD(model.parameters(), 0.1, momentum: 0.9, weight_decay: 0.1),
            Saliency = salun ? WeightSaliency.Salun(0.25) : WeightSaliency.Wagle(0.25, gamma: 0.5),
        };
        using var unlearned = method.Unlearn(c.Task(), c.Train, s_forget);

        var after = cat([.. c.Model.named_parameters().Select(p => unlearned.Tensors[p.name].reshape(-1))], 0);
        var (x, y) = (before.data<double>().ToArray(), after.data<double>().ToArray());
        Assert.All(Enumerable.Range(0, x.Length), i => Assert.True(open.Contains(i) ? x[i] != y[i] : x[i].Equals(y[i]), $"element {i}"));
        Assert.Contains($"{count} of {importance.Length} parameters may move", unlearned.Notes);
    }

    [Fact]
    public void OtherLabelsAreOthersAndStayTheSame()
    {
        using var scope = NewDisposeScope();
        var labels = tensor(Enumerable.Range(0, 3000).Select(i => (long)(i % 3)).ToArray());
        var batch = ExampleBatch.Of([.. Enumerable.Range(0, 3000).Select(i => (long)i)], ("y", labels));
        var other = GradientUnlearning.OtherLabels(batch, "y", 3);
        Assert.Equal(0, other.eq(labels).sum().item<long>());
        Assert.True(other.ge(0).logical_and(other.lt(3)).all().item<bool>());
        Assert.Equal(other.data<long>().ToArray(), GradientUnlearning.OtherLabels(batch, "y", 3).data<long>().ToArray());

        // Each of the two others for half of them: three standard deviations of 3,000 draws are 82.
        var next = other.eq((labels + 1) % 3).sum().item<long>();
        Assert.InRange(next, 1500 - 82, 1500 + 82);
        Assert.Throws<InfluenceException>(() => GradientUnlearning.OtherLabels(batch, "y", 1));
    }

    [Fact]
    public void AscentEndsAtItsLimit()
    {
        using var c = new Classifier(train: 20);
        using var limited = (GradientUnlearning.Ascent with { Steps = 10_000, LearningRate = 0.05, ForgetLossLimit = 2 }).Unlearn(
            c.Task(),
            c.Train,
            s_forget
        );
        Assert.InRange(limited.ForgetLoss.After, 2, 2.5);
        Assert.Contains("at the limit", Assert.Single(limited.Notes), StringComparison.Ordinal);
    }

    /// <summary>Fine-tuning on what is kept lowers its loss; layers that are not chosen stay.</summary>
    [Fact]
    public void ChosenLayersAloneMove()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        var task = c.Task() with { Layers = LayerSelection.Where(name => name.StartsWith("head", StringComparison.Ordinal)) };
        using var tuned = (GradientUnlearning.FineTuning with { Steps = 30, LearningRate = 0.1, BatchSize = 5 }).Unlearn(
            task,
            c.Train,
            s_forget
        );
        Assert.True(tuned.KeepLoss.After < tuned.KeepLoss.Before);
        foreach (var (name, parameter) in c.Model.named_parameters())
        {
            Assert.Equal(
                name.StartsWith("hidden", StringComparison.Ordinal),
                parameter.detach().eq(tuned.Tensors[name]).all().item<bool>()
            );
        }
    }
}
