using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Fits of one model with other labels: their spread is the error of estimating the curvature.</summary>
public sealed class LabelFitsTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _scope.Dispose();
    }

    /// <summary>
    /// Each fit's score is a mean over its labels, at a strong damping nearly linear in the curvature: four times the labels halve the
    /// spread. A standard deviation of 40 fits is off by 11%, the mean of 44 pairs' by somewhat less.
    /// </summary>
    [Fact]
    public void TheErrorFallsWithTheRootOfTheLabels()
    {
        double[] errors = [.. new[] { 1, 4, 16 }.Select(Error)];
        Assert.InRange(errors[0] / errors[1], 1.6, 2.5);
        Assert.InRange(errors[1] / errors[2], 1.6, 2.5);

        double Error(int draws)
        {
            var ensemble = new InfluenceEnsemble(
                (task, seed) =>
                    Ekfac.Fit(
                        task,
                        _c.Train,
                        new()
                        {
                            Seed = seed,
                            LabelDraws = draws,
                            Damping = Damping.Absolute(1),
                        }
                    )
            )
            {
                LabelFits = 40,
            };
            using var scores = ensemble.ScoreWithSpread(_c.Task(), _c.Train, _c.Queries);
            return scores.StandardDeviations.mean().item<double>();
        }
    }

    [Fact]
    public void ItIsNamed()
    {
        var ensemble = new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, _c.Train, new() { Seed = seed })) { LabelFits = 4 };
        using var scores = ensemble.ScoreWithSpread(_c.Task(), _c.Train, _c.Queries);
        Assert.Equal((InfluenceEnsemble.Kind.LabelDraws, 4), (scores.Members, scores.MemberCount));
        Assert.Contains("curvature estimation error", scores.Mean.Metadata.Notes, StringComparison.Ordinal);
        Assert.Contains("4 fits of the curvature", scores.Mean.Metadata.Checkpoints, StringComparison.Ordinal);
        Assert.Contains("curvature estimation error", scores.ToString(), StringComparison.Ordinal);
        Assert.Contains("fits with other labels", scores.ToString(), StringComparison.Ordinal);

        // The members are the fits with these seeds, one by one.
        double[] own =
        [
            .. Enumerable
                .Range(0, 4)
                .Select(k =>
                {
                    using var fit = Ekfac.Fit(_c.Task(), _c.Train, new() { Seed = (long)k << 32 });
                    using var one = new InfluenceFunction(fit).Score(_c.Task(), _c.Train, _c.Queries);
                    return one[1, 2];
                }),
        ];
        Assert.Equal(own.Average(), scores.Mean[1, 2], 1e-12);
        Assert.Equal(Math.Sqrt(own.Sum(s => Math.Pow(s - own.Average(), 2)) / 3), scores.CurvatureError(1, 2), 1e-12);
        Assert.Equal(scores.CurvatureError(1, 2) / 2, scores.StandardError(1, 2), 1e-12);
        var (lower, upper) = scores.Interval(1, 2);
        Assert.InRange(scores.Mean[1, 2], lower, upper);
        using var plain = ensemble.Score(_c.Task(), _c.Train, _c.Queries);
        Assert.Equal(0, (plain.Values - scores.Mean.Values).abs().max().item<double>(), 1e-12);

        // Another run is another matter.
        var thrown = Assert.Throws<InfluenceException>(() => scores.StablePairs());
        Assert.Contains("OtherModels", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void OtherSpreadsAreNoSuchError()
    {
        using var fit = Ekfac.Fit(_c.Task(), _c.Train);
        using var one = new InfluenceFunction(fit).Score(_c.Task(), _c.Train, _c.Queries);
        using var scores = InfluenceEnsemble.Result.Of([one, one], InfluenceEnsemble.Kind.SeparateRuns);
        var thrown = Assert.Throws<InfluenceException>(() => scores.CurvatureError(0, 0));
        Assert.Contains("separate runs", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FitsThatDrawNothingAreRefused()
    {
        Refused("has the seed 0, not 4294967296", new InfluenceEnsemble((task, _) => Ekfac.Fit(task, _c.Train)));
        Refused(
            "Fisher.Sampled",
            new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, _c.Train, new() { Seed = seed, Fisher = Fisher.Empirical }))
        );
        Refused(
            "mixed up",
            new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, _c.Train, new() { Seed = seed })) { OtherModels = [_c.Task()] }
        );
        Assert.Throws<InfluenceException>(() => new InfluenceEnsemble(task => Ekfac.Fit(task, _c.Train)) { LabelFits = 8 });
        Refused("LabelFits = 5", new InfluenceEnsemble((task, seed) => Ekfac.Fit(task, _c.Train, new() { Seed = seed })) { LabelFits = 1 });

        void Refused(string told, InfluenceEnsemble ensemble)
        {
            var live = LiveTensors.OnThisThread;
            var thrown = Assert.Throws<InfluenceException>(() => ensemble.ScoreWithSpread(_c.Task(), _c.Train, _c.Queries));
            Assert.Contains(told, thrown.Message, StringComparison.Ordinal);
            Assert.Equal(live, LiveTensors.OnThisThread);
        }
    }
}
