using Influence.Curvature;
using Influence.Groups;
using Influence.Tests.Groups;
using Influence.Tests.Oracles;
using Influence.Unlearning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Unlearning;

/// <summary>One step against retraining.</summary>
public class NewtonUnlearningTests
{
    /// <summary>A quadratic loss: the Newton step is retraining, to the rounding of one solve in float64.</summary>
    [Fact]
    public void LinearRegressionIsRetrainedExactly()
    {
        using var scope = NewDisposeScope();
        using var problem = new LeastSquares();
        long[] forget = [1, 2, 5, 11, 20, 29];
        using var dense = DenseCurvature.Fit(
            problem.Task,
            problem.Train,
            new() { Matrix = CurvatureMatrix.Hessian, Damping = Damping.Absolute(0) }
        );
        var before = problem.Weights;
        using var unlearned = new NewtonUnlearning(dense) { Order = GroupEffect.Expansion.Newton }.Unlearn(
            problem.Task,
            problem.Train,
            forget
        );

        var retrained = problem.Solution(problem.Train.Ids.Except(forget));
        var found = unlearned.Tensors["weight"].reshape(-1).data<double>().ToArray();
        Assert.All(retrained.Zip(found), pair => Assert.Equal(pair.First, pair.Second, 1e-11));
        Assert.Equal(before, problem.Weights);
        Assert.Equal(Math.Sqrt(retrained.Zip(before, (r, b) => (r - b) * (r - b)).Sum()), unlearned.StepNorm, 1e-10);
        Assert.True(unlearned.KeepLoss.After < unlearned.KeepLoss.Before && unlearned.ForgetLoss.After > unlearned.ForgetLoss.Before);
    }

    /// <summary>The sheet's fixture: without the last row the weights move by (1/3, 1/3); the first order by a third of that.</summary>
    [Fact]
    public void TheSheetsRow()
    {
        using var scope = NewDisposeScope();
        using var model = nn.Linear(2, 1, hasBias: false, dtype: float64);
        using (no_grad())
        {
            model.weight!.copy_(tensor(new[] { 2 / 3.0, 5 / 3.0 }).unsqueeze(0));
        }

        model.eval();
        var train = Examples.FromTensors(
            (
                "x",
                tensor(
                    new double[,]
                    {
                        { 1, 0 },
                        { 0, 1 },
                        { 1, 1 },
                    }
                )
            ),
            (
                "y",
                tensor(
                    new double[,]
                    {
                        { 1 },
                        { 2 },
                        { 2 },
                    }
                )
            )
        );
        var task = new InfluenceTask(model) { TrainingLoss = b => 0.5 * Losses.SquaredError(model.call(b["x"]), b["y"]) };
        using var dense = DenseCurvature.Fit(task, train, new() { Matrix = CurvatureMatrix.Hessian, Damping = Damping.Absolute(0) });

        using var newton = new NewtonUnlearning(dense) { Order = GroupEffect.Expansion.Newton }.Unlearn(task, train, [2]);
        Assert.All(
            newton.Tensors["weight"].reshape(-1).data<double>().ToArray().Zip([1.0, 2.0]),
            pair => Assert.Equal(pair.Second, pair.First, 1e-12)
        );

        // Over the two that are kept: 1/2 H^-1 g with H of all three is 1.5 times the influence estimate of 1/9.
        using var first = new NewtonUnlearning(dense).Unlearn(task, train, [2]);
        Assert.All(
            first.Tensors["weight"].reshape(-1).data<double>().ToArray().Zip([2 / 3.0, 5 / 3.0]),
            pair => Assert.Equal(pair.Second + (1 / 6.0), pair.First, 1e-12)
        );
    }

    /// <summary>
    /// A regularised logistic regression is not quadratic: the Newton step leaves less than a tenth of the distance to the retrained
    /// weights (measured: 0.03), the first order less than a half.
    /// </summary>
    [Fact]
    public void LogisticRegressionComesNearRetraining()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var (x, y) = (randn([60, 4], dtype: float64), randint(0, 2, [60]).to_type(ScalarType.Float64));
        using var model = nn.Linear(4, 1, dtype: float64);
        model.eval();
        Tensor Each(Tensor a, Tensor b) =>
            Losses.BinaryCrossEntropy(model.call(a).squeeze(1), b)
            + (0.05 * (model.weight!.Squared0().sum() + model.bias!.Squared0().sum()));
        NewtonTrainer.Train(model, () => Each(x, y).mean());
        var task = new InfluenceTask(model) { TrainingLoss = b => Each(b["x"], b["y"]) };
        var train = Examples.FromTensors(("x", x), ("y", y));
        long[] forget = [.. Enumerable.Range(0, 12).Select(i => (long)(i * 5))];
        using var dense = DenseCurvature.Fit(task, train, new() { Matrix = CurvatureMatrix.Hessian, Damping = Damping.Absolute(0) });
        using var newton = new NewtonUnlearning(dense) { Order = GroupEffect.Expansion.Newton }.Unlearn(task, train, forget);
        using var first = new NewtonUnlearning(dense).Unlearn(task, train, forget);

        var start = cat([model.weight!.detach().reshape(-1).clone(), model.bias!.detach().clone()], 0);
        var index = tensor(train.Ids.Except(forget).ToArray());
        var (keptX, keptY) = (x.index_select(0, index), y.index_select(0, index));
        NewtonTrainer.Train(model, () => Each(keptX, keptY).mean());
        var truth = cat([model.weight!.detach().reshape(-1), model.bias!.detach()], 0);
        var distance = (truth - start).norm().item<double>();
        Assert.True(Distance(newton) < 0.1 * distance, $"Newton is {Distance(newton) / distance} of the way off");
        Assert.True(Distance(first) < 0.5 * distance, $"first order is {Distance(first) / distance} of the way off");

        double Distance(UnlearningMethod.Result weights) =>
            (cat([weights.Tensors["weight"].reshape(-1), weights.Tensors["bias"]], 0) - truth).norm().item<double>();
    }

    /// <summary>EK-FAC's step is that of its inverse on the summed gradient; the trust region shortens it and keeps its
    /// direction.</summary>
    [Fact]
    public void ATrustRegionShortensTheStep()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        var state = ModelState.Of(c.Model, c.X);
        using var ekfac = Ekfac.Fit(c.Task(), c.Train);
        using var whole = new NewtonUnlearning(ekfac).Unlearn(c.Task(), c.Train, [0, 3, 7]);
        using var shortened = new NewtonUnlearning(ekfac) { MaximumStep = whole.StepNorm / 4 }.Unlearn(c.Task(), c.Train, [0, 3, 7]);
        Assert.Equal(whole.StepNorm / 4, shortened.StepNorm, 1e-12);
        Assert.Contains("trust region", Assert.Single(shortened.Notes), StringComparison.Ordinal);
        foreach (var (name, parameter) in c.Model.named_parameters())
        {
            var step = whole.Tensors[name] - parameter.detach();
            Assert.True((shortened.Tensors[name] - parameter.detach() - (step / 4)).abs().max().item<double>() < 1e-12);
        }

        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void TheKeptLossHalvesTheStep()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        using var ekfac = Ekfac.Fit(c.Task(), c.Train);
        using var whole = new NewtonUnlearning(ekfac).Unlearn(c.Task(), c.Train, [0, 3, 7]);
        var rise = whole.KeepLoss.After - whole.KeepLoss.Before;
        Assert.True(rise > 0, "the example does not test what it should");
        using var limited = new NewtonUnlearning(ekfac) { MaximumKeepRise = rise / 3 }.Unlearn(c.Task(), c.Train, [0, 3, 7]);
        Assert.True(limited.KeepLoss.After - limited.KeepLoss.Before <= rise / 3);
        Assert.Contains("halved", Assert.Single(limited.Notes), StringComparison.Ordinal);
        var halvings = Math.Log2(whole.StepNorm / limited.StepNorm);
        Assert.Equal(Math.Round(halvings), halvings, 1e-9);
    }

    [Fact]
    public void AWrongFitIsRefused()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        using var ekfac = Ekfac.Fit(c.Task(), c.Train);
        Assert.Contains(
            "fitted on 20",
            Assert.Throws<InfluenceException>(() => new NewtonUnlearning(ekfac).Unlearn(c.Task(), c.Train, [0], [1, 2])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "as a matrix",
            Assert
                .Throws<InfluenceException>(() =>
                    new NewtonUnlearning(ekfac) { Order = GroupEffect.Expansion.Newton }.Unlearn(c.Task(), c.Train, [0])
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new NewtonUnlearning(ekfac) { MaximumStep = 0 });
    }
}

internal static class Squares
{
    public static Tensor Squared0(this Tensor x) => x * x;
}
