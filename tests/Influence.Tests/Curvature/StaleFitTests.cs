using Influence.Curvature;
using Influence.Estimators;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>A fit belongs to all of a model's weights; weights that change while a call runs are noticed.</summary>
public sealed class StaleFitTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("frozen backbone")]
    [InlineData("layer that is not selected")]
    [InlineData("buffer")]
    public void WhatGradientsDependOnIsPartOfTheFingerprint(string what)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var norm = nn.BatchNorm1d(6, dtype: float64);
        using var model = new Composite(
            x => c.Head.call(norm.call(c.Hidden.call(x)).tanh()),
            ("hidden", c.Hidden),
            ("norm", norm),
            ("head", c.Head)
        );
        model.eval();
        c.Hidden.weight!.requires_grad = what != "frozen backbone";
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]),
            Layers = LayerSelection.Where(name => name.StartsWith("head", StringComparison.Ordinal)),
        };
        using var fit = Kfac.Fit(task, c.Train);
        var function = new InfluenceFunction(fit);
        function.Score(task, c.Train, c.Queries).Dispose();
        using (no_grad())
        {
            (what == "buffer" ? norm.running_mean! : c.Hidden.weight!).add_(1e-6);
        }

        var thrown = Assert.Throws<InfluenceException>(() => function.Score(task, c.Train, c.Queries));
        Assert.Contains("frozen weights and buffers count too", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => function.SelfInfluence(task, c.Train));
    }

    /// <summary>What an earlier version saved is checked as far as it can be, and the log says so.</summary>
    [Fact]
    public void AFitOfAnEarlierVersionIsTakenWithAWarning()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var log = new Messages();
        var task = new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Logger = log };
        using var fit = NoCurvature.Fit(task, c.Train);
        using var session = Influence.Gradients.GradientSession.Open(task, c.Train, null);
        var earlier = (fit.Info with { Weights = session.EarlierFingerprint() }).ToStrings();
        session.Dispose();
        Safetensors.Save(_folder.Path("old.safetensors"), [], earlier);

        using var loaded = NoCurvature.Load(_folder.Path("old.safetensors"));
        new InfluenceFunction(loaded).Score(task, c.Train, c.Queries).Dispose();

        Assert.Contains(log.All, message => message.Contains("earlier version", StringComparison.Ordinal));
        using (no_grad())
        {
            c.Head.bias!.add_(1e-6);
        }

        Assert.Throws<InfluenceException>(() => new InfluenceFunction(loaded).Score(task, c.Train, c.Queries));
    }

    [Theory]
    [InlineData("loss")]
    [InlineData("progress")]
    public void WeightsThatChangeDuringACallAreNoticed(string by)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        var on = false;
        void Change()
        {
            using var noGrad = no_grad();
            c.Head.bias!.add_(on ? 1e-5 : 0);
        }

        var task = c.Task(batch =>
        {
            if (by == "loss" && batch.Ids.Contains(10))
            {
                Change();
            }

            return c.Loss(batch);
        });
        var progress = new Reports(_ =>
        {
            if (by == "progress")
            {
                Change();
            }
        });
        var train = c.Train with { BatchSize = 4 };
        Action[] calls =
        [
            () => new TracIn().Score(task, train, c.Queries, progress).Dispose(),
            () => new TracIn().SelfInfluence(task, train, progress),
            () => new InfluenceFunction(fit).Score(task, train, c.Queries, progress).Dispose(),
            () =>
                new InfluenceFunction(fit) { Aggregation = InfluenceFunction.QueryAggregation.Mean }
                    .Score(task, train, c.Queries, progress)
                    .Dispose(),
            () => Ekfac.Fit(task, train, progress: progress).Dispose(),
        ];
        var weights = c.Head.bias!.detach().clone();
        foreach (var call in calls)
        {
            on = false;
            call();
            on = true;
            Assert.Matches("changed during the call|fitted at other weights", Assert.Throws<InfluenceException>(call).Message);
            using var noGrad = no_grad();
            c.Head.bias!.copy_(weights);
        }
    }

    /// <summary>Changes that leave every sum as it is, and buffers.</summary>
    [Theory]
    [InlineData("rows exchanged")]
    [InlineData("two numbers exchanged")]
    [InlineData("a sign")]
    [InlineData("a buffer")]
    public void ChangesThatSumsDoNotShowAreNoticed(string what)
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        using var norm = nn.BatchNorm1d(6, dtype: float64);
        using var model = new Composite(
            x => c.Head.call(norm.call(c.Hidden.call(x)).tanh()),
            ("hidden", c.Hidden),
            ("norm", norm),
            ("head", c.Head)
        );
        model.eval();
        var (weight, changed) = (c.Hidden.weight!, false);
        var progress = new Reports(_ =>
        {
            if (!changed)
            {
                using var noGrad = no_grad();
                changed = true;
                switch (what)
                {
                    case "rows exchanged":
                        weight.copy_(weight.roll(1, 0));
                        break;
                    case "two numbers exchanged":
                        weight[0].copy_(weight[0].flip(0));
                        break;
                    case "a sign":
                        (weight[0, 0], weight[1, 1]) = (-weight[0, 0], weight[1, 1]);
                        break;
                    default:
                        norm.running_mean!.add_(0.1);
                        break;
                }
            }
        });
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, c.Train with { BatchSize = 4 }, c.Queries, progress));

        Assert.Contains(what == "a buffer" ? "(norm.running_mean)" : "(hidden.weight)", thrown.Message, StringComparison.Ordinal);
    }
}
