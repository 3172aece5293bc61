using System.Diagnostics;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using Influence.Numerics;
using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>What results say of their cost: never more than the clock, stage by stage, in files too.</summary>
public sealed class CostTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _folder.Dispose();
        _c.Dispose();
    }

    [Theory]
    [InlineData("fit", "audit", "first pass", "decomposition", "second pass")]
    [InlineData("scores", "audit", "query pass", "preconditioning", "training pass")]
    [InlineData("TracIn", "audit", "query pass", "training pass")]
    [InlineData("self-influence", "audit", "training pass")]
    [InlineData("strongest", "audit", "query pass", "training pass")]
    [InlineData("file", "audit", "query pass", "training pass")]
    [InlineData("groups", "audit")]
    [InlineData("losses", "losses")]
    [InlineData("ensemble", "audit", "query pass", "training pass")]
    [InlineData("own estimator", "scoring")]
    [InlineData("conjugate gradient", "audit")]
    public void EveryResultSaysWhatItTook(string what, params string[] stages)
    {
        using var fit = what is "scores" or "groups" ? Fit() : null;
        var watch = Stopwatch.StartNew();
        var cost = Cost(what, fit);
        var seconds = watch.Elapsed.TotalSeconds;

        Assert.NotNull(cost);
        Assert.All(cost.Stages, stage => Assert.True(stage.Seconds > 0 && stage.ProcessorSeconds >= 0 && stage.PeakMemory > 1 << 20));
        Assert.True(cost.Seconds <= seconds, $"{cost.Seconds} s of {seconds} s");
        Assert.Equal(cost.Seconds, cost.Stages.Sum(stage => stage.Seconds), 1e-12); // a sum in one order
        Assert.True(cost.PeakMemory >= cost.Stages.Max(stage => stage.PeakMemory));
        Assert.Empty(stages.Except(cost.Stages.Select(stage => stage.Name)));
        Assert.Equal(cost.Stages.Count, cost.Stages.DistinctBy(stage => stage.Name).Count());
        Assert.Contains($"{stages[0]} ", cost.ToString(), StringComparison.Ordinal);
        Assert.Null(CostMeter.Current);
    }

    [Fact]
    public void AWaitIsMeasuredAndCountsOnce()
    {
        var watch = Stopwatch.StartNew();
        ScoreMetadata.RunCost cost;
        using (var outer = CostMeter.Begin("outer"))
        {
            Thread.Sleep(30);
            using (CostMeter.Stage("a"))
            {
                Thread.Sleep(60);
                using (CostMeter.Begin("inner"))
                using (CostMeter.Stage("a"))
                {
                    Thread.Sleep(40);
                }
            }

            cost = ScoreMetadata.RunCost.Of(outer);
        }

        // Sleeping takes at least its time; the clock's ticks are finer than a millisecond.
        Assert.InRange(cost.Stages.Single(stage => stage.Name == "a").Seconds, 0.099, watch.Elapsed.TotalSeconds - 0.029);
        Assert.InRange(cost.Stages.Single(stage => stage.Name == "outer").Seconds, 0.029, watch.Elapsed.TotalSeconds - 0.099);
        Assert.Equal(["outer", "a", "inner"], cost.Stages.Select(stage => stage.Name));
        Assert.InRange(cost.Seconds, 0.129, watch.Elapsed.TotalSeconds);
    }

    [Fact]
    public void FilesKeepItAndOlderOnesHaveNone()
    {
        using var fit = Fit();
        using var scores = new InfluenceFunction(fit).Score(_c.Task(), _c.Train, _c.Queries);
        scores.Save(_folder.Path("scores.safetensors"));
        fit.Save(_folder.Path("fit.safetensors"));
        using var read = InfluenceScores.Load(_folder.Path("scores.safetensors"));
        using var readFit = Ekfac.Load(_folder.Path("fit.safetensors"));

        Assert.Equal(scores.Metadata, read.Metadata);
        Assert.NotNull(read.Metadata.Cost);
        Assert.Equal(fit.Info, readFit.Info);
        Assert.NotNull(readFit.Info.Cost);
        Assert.Contains("training pass", read.Metadata.ToHtml(), StringComparison.Ordinal);
        Assert.Contains("training pass", read.Metadata.ToString(), StringComparison.Ordinal);

        var strings = scores.Metadata.ToStrings();
        Assert.True(strings.Remove("influence.cost"));
        Assert.Equal(scores.Metadata.WithoutCost(), ScoreMetadata.FromStrings(strings, string.Empty));
        foreach (
            var broken in new[]
            {
                "{",
                "[]",
                "{\"stages\": 1}",
                "{\"peak_memory\": 1, \"stages\": [{}]}",
                "{\"peak_memory\": 1e99, \"stages\": []}",
            }
        )
        {
            strings["influence.cost"] = broken;
            Assert.Null(ScoreMetadata.FromStrings(strings, string.Empty).Cost);
        }
    }

    [Fact]
    public void ScoresThatNoCallMadeHaveNone()
    {
        Assert.Null(ExampleScores.Of([1, 2], [1, 2]).Metadata.Cost);
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() =>
            new TracIn().Score(_c.Task(), _c.Train, _c.Queries, cancellationToken: cancelled.Token)
        );
        Assert.Throws<InfluenceException>(() =>
            new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.SelfInfluence(_c.Task(), _c.Train)
        );
        Assert.Null(new ScoreMetadata { Estimator = "own", Unit = "own" }.Cost);
    }

    private Ekfac Fit() => Ekfac.Fit(_c.Task(), _c.Train, new Ekfac.Options { Seed = 3 });

    private ScoreMetadata.RunCost? Cost(string what, Ekfac? fit)
    {
        using var scope = NewDisposeScope();
        var (task, train, queries) = (_c.Task(), _c.Train, _c.Queries);
        switch (what)
        {
            case "fit":
                using (var made = Fit())
                {
                    return made.Info.Cost;
                }

            case "scores":
                using (var scores = new InfluenceFunction(fit!).Score(task, train, queries))
                {
                    return scores.Metadata.Cost;
                }

            case "TracIn":
                using (var scores = new TracIn().Score(task, train, queries))
                {
                    return scores.Metadata.Cost;
                }

            case "self-influence":
                return new TracIn().SelfInfluence(task, train).Metadata.Cost;
            case "strongest":
                return new TracIn().Strongest(2, task, train, queries).Metadata.Cost;
            case "file":
                return new TracIn().ScoreToFile(_folder.Path("f.safetensors"), task, train, queries).Cost;
            case "groups":
                return new GroupInfluence(new InfluenceFunction(fit!))
                    .Score(task, train, ExampleGroups.Of(train.Ids, id => $"{id % 2}"), queries)
                    .Metadata.Cost;
            case "losses":
                return new ExampleLosses().Score(task, train).Metadata.Cost;
            case "ensemble":
                using (var scores = new InfluenceEnsemble(model => NoCurvature.Fit(model, train)).Score(task, train, queries))
                {
                    return scores.Metadata.Cost;
                }

            case "own estimator":
                using (var scores = new Constant().Score(task, train, queries))
                {
                    return scores.Metadata.Cost;
                }

            default:
                using (var made = ConjugateGradient.Fit(task, train))
                {
                    return made.Info.Cost;
                }
        }
    }

    private sealed class Constant : IPairEstimator
    {
        public ScoreMetadata ScoreInto(
            ScoreSink sink,
            InfluenceTask task,
            Examples train,
            Examples queries,
            IProgress<InfluenceProgress>? progress = null,
            CancellationToken cancellationToken = default
        )
        {
            sink.Begin(queries.Ids, train.Ids, ScalarType.Float32);
            sink.Add(0, 0, ones(queries.Count, train.Count));
            return new ScoreMetadata { Estimator = "constant", Unit = "1" };
        }
    }
}
