using Influence.Mixtures;
using Xunit;

namespace Influence.Tests.Mixtures;

/// <summary>TiKMiX-M, RegMix, CLIMB's search, Skill-It and DoGE.</summary>
public class MixtureMethodsTests
{
    private static readonly string[] s_names = ["a", "b", "c", "d"];
    private static readonly double[,] s_means =
    {
        { 1, 0.2, -0.3, 0.6 },
        { -0.1, 1, 0.4, 0.5 },
    };

    [Fact]
    public void SkillItFollowsTheLosses()
    {
        var skillIt = new SkillIt(
            Mixture.Uniform("a", "b"),
            new double[,]
            {
                { 1, 0 },
                { 0, 1 },
            }
        )
        {
            LearningRate = 0.2,
        };

        Assert.Equal([0.450166, 0.549834], skillIt.Update([1, 2]).Weights, (a, b) => Math.Abs(a - b) < 1e-6);

        // Sums over the window, always from the initial mixture: (1+1+1, 2+2+2), then (1+1+4, 2+2+0).
        skillIt.Update([1, 2]);
        Assert.Equal(1 / (1 + Math.Exp(0.2 * 3)), skillIt.Update([1, 2])["a"], 1e-12);
        Assert.Equal(1 / (1 + Math.Exp(-0.2 * 2)), skillIt.Update([4, 0])["a"], 1e-12);
        Assert.Equal(skillIt.Mixture["a"], 1 / (1 + Math.Exp(-0.2 * 2)), 1e-12);
    }

    [Fact]
    public void SkillItFromInfluenceAndRelativeLosses()
    {
        var scores = GroupScoresOf.Named(
            new[,]
            {
                { -1, 2 },
                { 4, 1.0 },
            },
            ["x", "y"],
            ["a", "b"]
        );
        var skillIt = SkillIt.FromInfluence(scores, new(["b", "a"], [0.5, 0.5]), learningRate: 0.3);

        // A over its largest entry, 4: a teaches y by 1, b teaches x by 0.5 and y by 0.25; a's -1 counts as 0.
        Assert.Equal(1 / (1 + Math.Exp(0.3 * ((0.5 * 1) + (0.25 * 2) - (1 * 2)))), skillIt.Update([1, 2])["a"], 1e-12);

        var relative = new SkillIt(
            Mixture.Uniform("a", "b"),
            new double[,]
            {
                { 1, 0 },
                { 0, 1 },
            }
        )
        {
            LearningRate = 1,
            RelativeToFirst = true,
            Window = 1,
        };
        Assert.Equal(0.5, relative.Update([10, 0.1])["a"], 1e-12);
        Assert.Equal(1 / (1 + Math.Exp(0.5)), relative.Update([5, 0.1])["a"], 1e-12);

        var both = SkillIt.FromInfluence(
            GroupScoresOf.Named(
                new double[,]
                {
                    { 1, 0 },
                    { 0, 1 },
                },
                ["x", "y"],
                ["a", "b"]
            ),
            Mixture.Uniform("a", "b"),
            1,
            1,
            relativeToFirst: true
        );
        Assert.Equal(0.5, both.Update([10, 0.1])["a"], 1e-12);
        Assert.Equal(1 / (1 + Math.Exp(0.5)), both.Update([5, 0.1])["a"], 1e-12);

        Says(
            () =>
                SkillIt.FromInfluence(
                    GroupScoresOf.Means(
                        new double[,]
                        {
                            { -1, -2 },
                        }
                    ),
                    Mixture.Uniform("a", "b")
                ),
            "No group helps"
        );
        Says(() => skillIt.Update([1]), "2 finite losses", "[1]");
        Says(() => skillIt.Update([1, double.NaN]), "NaN");
        Says(
            () =>
                new SkillIt(
                    Mixture.Uniform("a"),
                    new double[,]
                    {
                        { 1 },
                        { 2 },
                    }
                ),
            "1 groups",
            "[2, 1]"
        );
        Says(
            () =>
                new SkillIt(
                    Mixture.Uniform("a"),
                    new[,]
                    {
                        { double.NaN },
                    }
                ),
            "not finite"
        );
    }

    [Fact]
    public void DogeFollowsTheGradients()
    {
        var scores = GroupScoresOf.Means(
            new[,]
            {
                { 1, 0, -0.5 },
                { 1, 2, -1.5 },
            },
            [1, 100, 7]
        );
        double[] pull = [2, 2, -2];

        double[] e = [0.2 * Math.Exp(0.5 * pull[0]), 0.3 * Math.Exp(0.5 * pull[1]), 0.5 * Math.Exp(0.5 * pull[2])];
        var plain = new Doge { LearningRate = 0.5, Normalized = false }.Update(scores, new(["a", "b", "c"], [0.2, 0.3, 0.5]));
        Assert.Equal(e.Select(x => x / e.Sum()), plain.Weights, (a, b) => Math.Abs(a - b) < 1e-12);

        // Normalised, the unit of the gradients does not matter.
        var small = GroupScoresOf.Means(
            new[,]
            {
                { 1e-9, 0, -0.5e-9 },
                { 1e-9, 2e-9, -1.5e-9 },
            }
        );
        Assert.Equal(new Doge().Update(scores).Weights, new Doge().Update(small).Weights, (a, b) => Math.Abs(a - b) < 1e-9);
        Assert.Equal(
            [1.0 / 3, 1.0 / 3, 1.0 / 3],
            new Doge()
                .Update(
                    GroupScoresOf.Means(
                        new double[,]
                        {
                            { 0, 0, 0 },
                        }
                    )
                )
                .Weights,
            (a, b) => Math.Abs(a - b) < 1e-15
        );
        Says(() => new Doge { LearningRate = double.NaN }.Update(scores), "LearningRate", "NaN");
        Says(() => new Doge().Update(scores, Mixture.Uniform("x")), "lacks");
    }

    /// <summary>A linear function over the simplex is greatest at a vertex, and the search closes in on it.</summary>
    [Fact]
    public void TheDirichletSearchClosesIn()
    {
        double[] slopes = [1, 3, 2, 0];
        double Value(Mixture m) => m.Weights.Zip(slopes, (w, s) => w * s).Sum();
        var start = Mixture.Uniform(s_names);
        var found = new DirichletSearch { Seed = 1 }.Maximize(start, Value);
        var within = new DirichletSearch { Seed = 1 }.Maximize(start, Value, m => m["b"] <= 0.6);

        Assert.True(Value(found) > 2.9, found.ToString());
        Assert.True(within["b"] <= 0.6 && Value(within) > 2.4, within.ToString());
        Assert.Equal(
            found.Weights,
            new DirichletSearch { Seed = 1 }
                .Maximize(start, Value)
                .Weights
        );
        Assert.Equal(
            start.Weights,
            new DirichletSearch { Seed = 1 }
                .Maximize(start, _ => 1)
                .Weights
        );
        Says(() => new DirichletSearch { MinimumConcentration = 100, MaximumConcentration = 10 }.Maximize(start, Value), "from small");
        Says(() => new DirichletSearch { Top = 0 }.Maximize(start, Value), "Top", "0");
        Says(() => new DirichletSearch().Maximize(start, _ => double.NaN), "not a number");
    }

    /// <summary>With S w measured the best of the box is a vertex of it; the search comes near, and no target falls behind.</summary>
    [Fact]
    public void TikmixMImprovesOnItsCentre()
    {
        var scores = GroupScoresOf.Means(s_means);
        var prior = Mixture.Uniform(s_names);
        var centre = new TikmixD().Optimize(scores, prior).Mixture;
        var result = new TikmixM { Seed = 3 }.Optimize(scores, centre, prior);
        double Total(Mixture m) => result.Mixture.Names.Select((_, j) => m.Weights[j] * (s_means[0, j] + s_means[1, j])).Sum();

        Assert.Equal(64, result.Observed.Count);
        Assert.True(Total(result.Mixture) > Total(centre) + 0.1, $"{Total(result.Mixture)}, the centre has {Total(centre)}");
        Assert.Equal(Total(result.Mixture), result.Predicted, 1e-6);
        Assert.Equal(1, result.Regression.HeldOutRankCorrelation, 1e-9);
        Assert.All(s_names, n => Assert.InRange(result.Mixture[n], (centre[n] / 2) - 0.02, (centre[n] * 2) + 0.02));
        Assert.Equal(
            result.Mixture.Weights,
            new TikmixM { Seed = 3 }
                .Optimize(scores, centre, prior)
                .Mixture.Weights
        );
        Assert.Contains("Linear 1.000 (used)", result.ToString(), StringComparison.Ordinal);
        for (var i = 0; i < 2; i++)
        {
            var row = Enumerable.Range(0, 4).Select(j => s_means[i, j]).ToList();
            Assert.True(row.Zip(result.Mixture.Weights, (s, w) => s * w).Sum() >= row.Average() - 1e-6);
        }
    }

    /// <summary>A measurement with an interaction, which S w has not: groups a and b are worth more together.</summary>
    [Fact]
    public void TikmixMLearnsWhatSumsMiss()
    {
        var scores = GroupScoresOf.Means(
            new double[,]
            {
                { 1, 1, 1, 1 },
            }
        );
        var centre = Mixture.Uniform(s_names);
        var result = new TikmixM().Optimize(scores, centre, measure: m => [1 + (8 * m["a"] * m["b"])]);

        Assert.Equal(MixtureFeatures.Quadratic, result.Regression.Features);
        // The box starts at 0.25 / 2 - 0.02 = 0.105 for c and d, which leaves 0.395 each.
        Assert.Equal(0.395, result.Mixture["a"], 0.005);
        Assert.Equal(0.395, result.Mixture["b"], 0.005);
    }

    [Fact]
    public void TikmixMRefusesWhatDoesNotFit()
    {
        var scores = GroupScoresOf.Means(s_means);
        var centre = Mixture.Uniform(s_names);

        Says(() => new TikmixM().Optimize(scores, Mixture.Uniform("x")), "lacks");
        Says(() => new TikmixM().Optimize(scores, centre, measure: _ => [1]), "each of the 2 targets", "found 1");
        Says(() => new TikmixM().Optimize(scores, centre, measure: _ => [1, double.NaN]), "NaN");
        Says(() => new TikmixM { Candidates = 2 }.Optimize(scores, centre), "Candidates", "not 2");
        using var cancelled = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() =>
            new TikmixM().Optimize(scores, centre, measure: _ => Cancel(), cancellationToken: cancelled.Token)
        );

        double[] Cancel()
        {
            cancelled.Cancel();
            return [0, 0];
        }
    }

    [Fact]
    public void RegMixProposesWithinItsRules()
    {
        var prior = new Mixture(s_names, [0.9, 0.05, 0.04, 0.01]);
        var proposals = new RegMix { Mixtures = 150, Seed = 2 }.Propose(prior);

        Assert.Equal(150, proposals.Count);
        Assert.All(proposals, m => Assert.All(s_names, n => Assert.True(m[n] <= 15 * prior[n] && m[n] is 0 or >= 1.9e-4, m.ToString())));
        Assert.Contains(proposals, m => m.Weights.Contains(0));

        // Tempered by 0.5 small groups get more than their share: sqrt(0.01) of 1.4724. Four standard errors of the mean, 0.006.
        Assert.Equal(
            0.1 / 1.4724,
            new RegMix { Mixtures = 1000, MaximumRatio = 1000 }
                .Propose(prior)
                .Average(m => m["d"]),
            0.025
        );
        Assert.Equal(
            proposals.Select(m => m.Weights),
            new RegMix { Mixtures = 150, Seed = 2 }
                .Propose(prior)
                .Select(m => m.Weights)
        );
    }

    [Fact]
    public void RegMixFindsTheBetterMixture()
    {
        static double Loss(Mixture m) => 3 - m["b"] - (0.5 * m["c"]) + (1.5 * m["b"] * m["b"]);
        var regMix = new RegMix
        {
            Mixtures = 60,
            Simulations = 20_000,
            Seed = 4,
        };
        var prior = Mixture.Uniform(s_names);
        var result = regMix.Optimize(prior, Loss);

        Assert.True(Loss(result.Mixture) < Loss(prior) - 0.15, result.ToString());
        Assert.Equal(Loss(result.Mixture), result.Predicted, 1e-3);
        Assert.Equal(result.Mixture.Weights, regMix.Optimize(prior, Loss).Mixture.Weights);
        Assert.Equal(
            result.Mixture.Weights,
            (regMix with { HigherIsBetter = true }).Optimize(prior, m => -Loss(m)).Mixture.Weights,
            (a, b) => Math.Abs(a - b) < 1e-6
        );

        // A predictor of the caller's own.
        var own = regMix.Optimize(prior, Loss, _ => m => m["a"]);
        Assert.True(own.Mixture["a"] < 0.01);
        Says(() => regMix.Optimize(prior, _ => double.NaN), "gave NaN", "mixture 1");
        Says(() => (regMix with { MinimumStrength = 0 }).Propose(prior), "MinimumStrength", "above 0");
        Says(() => (regMix with { Mixtures = 1 }).Propose(prior), "Mixtures", "at least 5");
    }

    /// <summary>At the least number of mixtures that they take, the searches end with an answer and do not fail after the last
    /// evaluation.</summary>
    [Fact]
    public void TheLeastNumberOfMixturesIsEnough()
    {
        static double Loss(Mixture m) => 3 - m["b"];
        var prior = Mixture.Uniform(s_names);
        var regMix = new RegMix { Mixtures = 5, Simulations = 1000 };
        var search = new MixtureSearch { Rounds = [5, 1] };

        Assert.Equal(5, regMix.Optimize(prior, Loss).Observed.Count);
        Assert.Equal(6, search.Optimize(prior, Loss).Observed.Count);
        var evaluated = 0;
        Says(() => (regMix with { Mixtures = 4 }).Optimize(prior, _ => evaluated++), "at least 5");
        Says(() => (search with { Rounds = [4] }).Optimize(prior, _ => evaluated++), "at least 5");
        Assert.Equal(0, evaluated);
    }

    /// <summary>Draws of weak strengths are nearly groups alone, and mostly rejected; still each strength has its share of
    /// proposals.</summary>
    [Fact]
    public void RegMixProposesAsManyOfEachStrength()
    {
        string[] names = [.. Enumerable.Range(0, 11).Select(j => $"g{j}")];
        var prior = Mixture.Normalized(names, [.. names.Select((_, j) => j == 0 ? 0.5 : 0.05)]);
        double Alone(double from, double to, int strengths) =>
            new RegMix
            {
                Mixtures = 1000,
                MinimumStrength = from,
                MaximumStrength = to,
                Strengths = strengths,
                Temperature = 1,
            }
                .Propose(prior)
                .Average(m => m["g0"] > 0.98 ? 1.0 : 0);
        var (weak, strong) = (Alone(0.1, 0.1, 1), Alone(5, 5, 1));
        Assert.True(weak > strong + 0.5, $"{weak}, {strong}");

        // Four standard errors of a share over 1000 draws, and of the two that it is compared with: 0.08.
        Assert.Equal((weak + strong) / 2, Alone(0.1, 5, 2), 0.08);
    }

    /// <summary>A strength at which no draw keeps the cap leaves its share to the others.</summary>
    [Fact]
    public void RegMixDoesWithoutAStrengthThatTheCapForbids()
    {
        // With 64 even groups a weight is at most 15/64, and a draw of strength 0.1 has one group alone.
        var prior = Mixture.Uniform([.. Enumerable.Range(0, 64).Select(j => $"g{j}")]);
        Assert.Equal(
            30,
            new RegMix { Mixtures = 30 }
                .Propose(prior)
                .Count
        );
        Says(
            () =>
                new RegMix
                {
                    Mixtures = 30,
                    MinimumStrength = 0.01,
                    MaximumStrength = 0.01,
                }.Propose(prior),
            "Only 0 of 30"
        );
    }

    /// <summary>A centre that is worse than the prior for a target: the answer is still inside the box, keeps the targets, and is no worse
    /// than what was measured.</summary>
    [Fact]
    public void TikmixMStartsInsideItsBox()
    {
        var tried = 0;
        for (var seed = 0; seed < 60; seed++)
        {
            var random = new Random(seed);
            var means = GroupScoresOf.Random(random, 2, 4);
            var scores = GroupScoresOf.Means(means);
            Mixture Draw() => Mixture.Normalized(s_names, [.. s_names.Select(_ => -Math.Log(1 - random.NextDouble()))]);
            var (prior, centre) = (Draw(), Draw());
            double Influence(int i, Mixture m) => m.Weights.Select((w, j) => w * means[i, j]).Sum();
            bool Keeps(Mixture m) => Enumerable.Range(0, 2).All(i => Influence(i, m) >= Influence(i, prior) - 1e-6);
            if (Keeps(centre))
            {
                continue;
            }

            var measured = 0;
            try
            {
                var result = new TikmixM { Candidates = 32, Seed = seed }.Optimize(scores, centre, prior);
                tried++;
                Assert.All(s_names, n => Assert.InRange(result.Mixture[n], (centre[n] / 2) - 0.02 - 1e-12, (centre[n] * 2) + 0.02 + 1e-12));
                Assert.True(Keeps(result.Mixture));
                Assert.True(
                    result.Predicted >= result.Observed.Where(o => Keeps(o.Mixture)).Max(o => result.Regression.Predict(o.Mixture)) - 1e-6
                );
            }
            catch (InfluenceException)
            {
                // No candidate keeps the targets: said before anything is measured.
                Says(
                    () => new TikmixM { Candidates = 32, Seed = seed }.Optimize(scores, centre, prior, _ => [measured++, 0]),
                    "The centre is worse than the prior for \"t",
                    "KeepTargets = false"
                );
                Assert.Equal(0, measured);
            }
        }

        Assert.True(tried >= 5, $"{tried} tried");
    }

    [Fact]
    public void TheIterativeSearchFindsTheBestMixture()
    {
        // The least of this quadratic over the simplex is at (0.5, 0.3, 0.1, 0.1).
        double[] best = [0.5, 0.3, 0.1, 0.1];
        double Loss(Mixture m) => 1 + m.Weights.Zip(best, (w, b) => (w - b) * (w - b)).Sum();
        var evaluated = 0;
        var search = new MixtureSearch { Seed = 5 };
        var result = search.Optimize(
            Mixture.Uniform(s_names),
            m =>
            {
                evaluated++;
                return Loss(m);
            }
        );

        Assert.Equal(64 + 32 + 16, evaluated);
        Assert.Equal(3, result.HeldOutRankCorrelations.Count);
        Assert.True(result.HeldOutRankCorrelations[0] > 0.95);

        // Later rounds look where the first found losses low.
        Assert.True(result.Observed.Skip(64).Average(o => o.Value) < result.Observed.Take(64).Average(o => o.Value) - 0.05);
        Assert.Equal(best, result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 0.03);
        Assert.Equal(result.Mixture.Weights, search.Optimize(Mixture.Uniform(s_names), Loss).Mixture.Weights);
        Says(() => (search with { Rounds = [2] }).Optimize(Mixture.Uniform(s_names), Loss), "at least 5", "[2]");
    }

    private static void Says(Func<object> act, params string[] parts)
    {
        var message = Assert.Throws<InfluenceException>(act).Message;
        Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
    }
}
