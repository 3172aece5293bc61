using Influence.Mixtures;
using Xunit;

namespace Influence.Tests.Mixtures;

public class TikmixDTests
{
    // The solver stops at a duality gap of about 1e-9; entropy is 1-strongly convex, so weights are right to sqrt(2e-9).
    private const double WeightTolerance = 5e-5;

    [Fact]
    public void OneTargetIsASoftmax()
    {
        var result = new TikmixD { Alpha = 0, KeepTargets = false }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                }
            )
        );

        Assert.Equal([0.227220, 0.291756, 0.481024], result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.True(result.Converged, $"gap {result.Gap}, violation {result.Violation}");
    }

    /// <summary>beta over gamma is an inverse temperature.</summary>
    [Theory]
    [InlineData(3, 1)]
    [InlineData(1, 0.25)]
    public void TheSoftmaxHasATemperature(double beta, double gamma)
    {
        double[] s = [0.3, -0.2, 0.7, 0.1];
        var result = new TikmixD
        {
            Alpha = 0,
            Beta = beta,
            Gamma = gamma,
            KeepTargets = false,
        }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { s[0], s[1], s[2], s[3] },
                }
            )
        );

        var e = s.Select(x => Math.Exp(beta / gamma * x / 0.7)).ToArray();
        Assert.Equal(e.Select(x => x / e.Sum()), result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-6);
    }

    [Fact]
    public void WithoutInfluenceItIsUniform()
    {
        var result = new TikmixD
        {
            Alpha = 0,
            Beta = 0,
            KeepTargets = false,
        }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                    { 3, -1, 2 },
                }
            )
        );

        Assert.Equal([1.0 / 3, 1.0 / 3, 1.0 / 3], result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-7);
    }

    /// <summary>Without entropy and evenness all weight goes to the best group: a vertex.</summary>
    [Fact]
    public void WithoutEntropyItIsAVertex()
    {
        var result = new TikmixD
        {
            Alpha = 0,
            Gamma = 0,
            KeepTargets = false,
        }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                }
            )
        );

        Assert.Equal([0, 0, 1], result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-7);
    }

    /// <summary>Only evenness: every mixture with equal Phat is best, where std has its kink.</summary>
    [Fact]
    public void TheKinkOfStandardDeviationIsReached()
    {
        var result = new TikmixD
        {
            Alpha = 50,
            Beta = 1,
            Gamma = 1,
            KeepTargets = false,
        }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 0.2, 0.4 },
                    { 0.1, 1, 0.9 },
                    { 0.3, 0.5, 1 },
                }
            )
        );

        Assert.True(result.Converged, $"gap {result.Gap}, violation {result.Violation}");
        var spread = result.Targets.Max(t => t.Influence) - result.Targets.Min(t => t.Influence);
        Assert.InRange(spread, 0, 1e-6);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void ItAgreesWithABruteForceGrid(int groups)
    {
        var (binding, free) = (0, 0);
        for (var seed = 0; seed < 24; seed++)
        {
            var random = new Random(seed);
            var scores = GroupScoresOf.Means(GroupScoresOf.Random(random, 1 + random.Next(4), groups));
            var tikmix = new TikmixD
            {
                Alpha = random.NextDouble() * 2,
                Beta = random.NextDouble() * 2,
                Gamma = 0.2 + random.NextDouble(),
            };
            if (seed % 4 == 3)
            {
                tikmix = tikmix with { Bounds = MixtureBounds.Of("a", 0, 0.3).And(MixtureBounds.Of("b", 0.2, 0.9)) };
            }

            double[] prior = groups == 2 ? [0.25, 0.75] : [0.2, 0.5, 0.3];
            var result = tikmix.Optimize(scores, new Mixture([.. scores.TrainGroups.Select(g => g.Name)], prior));
            var grid = new MixtureGrid(tikmix, scores, prior);
            var (best, objective) = grid.Minimum(result.Mixture.Weights);

            Assert.True(result.Converged, $"seed {seed}: gap {result.Gap}, violation {result.Violation}, {result.Iterations} iterations");
            Assert.Equal(grid.Objective(result.Mixture.Weights), result.Objective, 1e-10);
            Assert.True(result.Objective <= objective + 1e-6, $"seed {seed}: {result.Objective}, the grid found {objective}");

            // The grid's points are 2e-5 apart near the answer, and a wedge of two constraints may hold none of the nearest.
            Assert.True(objective <= result.Objective + 3e-3, $"seed {seed}: {result.Objective}, the grid found {objective}");
            Assert.True(
                best.Zip(result.Mixture.Weights, (a, b) => Math.Abs(a - b)).Max() < 0.05,
                $"seed {seed}: {string.Join(" ", best)}; {result}"
            );
            (binding, free) = result.Targets.Any(t => t.ShadowPrice > 0) ? (binding + 1, free) : (binding, free + 1);
        }

        Assert.True(binding >= 3 && free >= 3, $"{binding} instances with a binding constraint, {free} without.");
    }

    /// <summary>The shadow price is the derivative of the optimum by the floor, here moved through the prior.</summary>
    [Fact]
    public void ShadowPricesAreDerivatives()
    {
        // Only b helps the second target and the prior has much of it, while the first and entropy pull away from it.
        var scores = GroupScoresOf.Means(
            new[,]
            {
                { 1, 0.2, 1 },
                { -1, 1, 0.2 },
            }
        );
        var tikmix = new TikmixD { Alpha = 0 };
        TikmixD.Result At(double b) => tikmix.Optimize(scores, new Mixture(["a", "b", "c"], [0.1 - b, 0.8 + b, 0.1]));

        var middle = At(0);
        var (below, above) = (At(-1e-3), At(1e-3));
        var (price, rise) = (
            middle.Targets[1].ShadowPrice,
            (above.Objective - below.Objective) / (above.Targets[1].PriorInfluence - below.Targets[1].PriorInfluence)
        );

        Assert.True(price > 0.01, middle.ToString());
        Assert.Equal(0, middle.Targets[0].ShadowPrice);

        // A central difference of step 1e-3: its error is of the order of the step's square.
        Assert.Equal(rise, price, 1e-3 * price);
        var without = (tikmix with { KeepTargets = false }).Optimize(scores);
        Assert.Equal(middle.Objective - without.Objective, middle.Targets[1].Cost, 1e-6);
        Assert.Equal(0, middle.Targets[0].Cost);
    }

    /// <summary>Whatever the settings, scales, sizes and zeros in the prior.</summary>
    [Fact]
    public void NoTargetFallsBehindThePrior()
    {
        for (var seed = 0; seed < 100; seed++)
        {
            var random = new Random(seed);
            var (targets, groups) = (1 + random.Next(8), 2 + random.Next(10));
            var means = GroupScoresOf.Random(random, targets, groups);
            for (var i = 0; i < targets; i++)
            {
                var scale = Math.Pow(10, (random.NextDouble() * 12) - 8);
                for (var j = 0; j < groups; j++)
                {
                    means[i, j] *= scale;
                }
            }

            double Setting() =>
                random.Next(3) switch
                {
                    0 => 0,
                    1 => 1,
                    _ => random.NextDouble() * 5,
                };
            var scores = GroupScoresOf.Means(means);
            var prior = Mixture.Normalized(
                [.. scores.TrainGroups.Select(g => g.Name)],
                [.. Enumerable.Range(0, groups).Select(j => j > 0 && random.Next(4) == 0 ? 0 : 0.1 + random.NextDouble())]
            );
            var result = new TikmixD
            {
                Alpha = Setting(),
                Beta = Setting(),
                Gamma = Setting(),
            }.Optimize(scores, prior);

            Assert.True(result.Converged, $"seed {seed}: gap {result.Gap}, violation {result.Violation}, {result.Iterations} iterations");
            Assert.All(result.Targets, t => Assert.True(t.Influence >= t.PriorInfluence - 1e-6));
            Assert.Equal(1, result.Mixture.Weights.Sum(), 1e-12);
        }
    }

    /// <summary>Targets in full conflict: the prior's predicted influence is all there is, and the prior is the answer.</summary>
    [Fact]
    public void ConflictLeavesThePrior()
    {
        var result = new TikmixD().Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, -1 },
                    { -1, 1 },
                }
            ),
            new Mixture(["a", "b"], [0.3, 0.7])
        );

        Assert.Equal([0.3, 0.7], result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.True(result.Violation <= 1e-6);
    }

    [Fact]
    public void PermutingGroupsPermutesTheAnswer()
    {
        var means = GroupScoresOf.Random(new Random(5), 3, 4);
        int[] order = [2, 0, 3, 1];
        var permuted = new double[3, 4];
        for (var i = 0; i < 3; i++)
        {
            for (var j = 0; j < 4; j++)
            {
                permuted[i, j] = means[i, order[j]];
            }
        }

        string[] names = ["a", "b", "c", "d"];
        var prior = new Mixture(names, [0.1, 0.2, 0.3, 0.4]);
        var plain = new TikmixD().Optimize(GroupScoresOf.Named(means, ["x", "y", "z"], names), prior).Mixture;
        var other = new TikmixD().Optimize(GroupScoresOf.Named(permuted, ["x", "y", "z"], [.. order.Select(j => names[j])]), prior).Mixture;

        Assert.All(names, name => Assert.Equal(plain[name], other[name], WeightTolerance));
    }

    [Fact]
    public void ScalingATargetChangesNothing()
    {
        var means = GroupScoresOf.Random(new Random(6), 3, 4);
        var plain = new TikmixD().Optimize(GroupScoresOf.Means(means)).Mixture;
        foreach (var factor in new[] { 1e-9, 3.7, 1e6 })
        {
            var scaled = (double[,])means.Clone();
            for (var j = 0; j < 4; j++)
            {
                scaled[1, j] *= factor;
            }

            Assert.Equal(
                plain.Weights,
                new TikmixD().Optimize(GroupScoresOf.Means(scaled)).Mixture.Weights,
                (a, b) => Math.Abs(a - b) < WeightTolerance
            );
        }
    }

    /// <summary>Sums grow with a group; what a mixture is made from does not.</summary>
    [Fact]
    public void GroupSizesDoNotMatter()
    {
        var means = GroupScoresOf.Random(new Random(7), 2, 3);
        var prior = Mixture.Uniform("a", "b", "c");

        Assert.Equal(
            new TikmixD().Optimize(GroupScoresOf.Means(means), prior).Mixture.Weights,
            new TikmixD().Optimize(GroupScoresOf.Means(means, [1, 1000, 30]), prior).Mixture.Weights,
            (a, b) => Math.Abs(a - b) < WeightTolerance
        );
    }

    /// <summary>A target that no group helps keeps its sign: it pulls towards what harms it least, and is marked.</summary>
    [Fact]
    public void ATargetThatNothingHelpsIsHarmedLess()
    {
        var result = new TikmixD { Alpha = 0 }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { -1, -4, -2 },
                }
            ),
            Mixture.Uniform("a", "b", "c")
        );

        var target = Assert.Single(result.Targets);
        Assert.True(target.NothingHelps);
        Assert.Equal(4, target.Scale);
        Assert.True(target.Influence < 0 && target.Influence > target.PriorInfluence);
        double[] e = [Math.Exp(-0.25), Math.Exp(-1), Math.Exp(-0.5)];
        Assert.Equal(e.Select(x => x / e.Sum()), result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.Contains("no group helps it", result.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void ATargetThatNothingMovesChangesNothing()
    {
        var with = new TikmixD { Alpha = 0 }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                    { 0, 0, 0 },
                }
            )
        );
        var without = new TikmixD { Alpha = 0 }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                }
            )
        );

        Assert.True(with.Targets[1].NothingHelps);
        Assert.Equal(without.Mixture.Weights, with.Mixture.Weights, (a, b) => Math.Abs(a - b) < WeightTolerance);
    }

    /// <summary>A target that every group serves alike holds nothing back: its constraint has no price, whatever the solver's
    /// slack.</summary>
    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(3, 3, 3)]
    [InlineData(3, 3.0000001, 2.9999999)]
    [InlineData(-2, -2, -2)]
    public void AConstantTargetHasNoPrice(double a, double b, double c)
    {
        foreach (var alpha in new[] { 0, 1 })
        {
            var result = new TikmixD { Alpha = alpha }.Optimize(
                GroupScoresOf.Means(
                    new[,]
                    {
                        { 1, 2, 4 },
                        { a, b, c },
                    }
                )
            );

            Assert.Equal((0, 0), (result.Targets[1].ShadowPrice, result.Targets[1].Cost));
            Assert.True(result.Converged, $"gap {result.Gap}, violation {result.Violation}");
        }
    }

    [Fact]
    public void OneGroupHasNoPrices()
    {
        var result = new TikmixD().Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { -1 },
                    { 2 },
                }
            )
        );

        Assert.All(result.Targets, t => Assert.Equal((0, 0), (t.ShadowPrice, t.Cost)));
        Assert.Equal(1, result.Mixture["a"]);
    }

    /// <summary>Floors hold however the settings compare, with targets that nearly every group harms.</summary>
    [Theory]
    [InlineData(1, 100, 1)]
    [InlineData(1, 1e3, 1)]
    [InlineData(1, 1e6, 1)]
    [InlineData(1e4, 1, 1)]
    [InlineData(1, 1, 1e4)]
    [InlineData(1e-6, 1e-6, 1e-6)]
    public void NoTargetFallsBehindWhateverTheSettings(double alpha, double beta, double gamma)
    {
        var converged = 0;
        for (var seed = 0; seed < 40; seed++)
        {
            var random = new Random(seed);
            var (targets, groups) = (1 + random.Next(5), 2 + random.Next(8));
            var means = GroupScoresOf.Random(random, targets, groups);
            for (var i = 0; i < targets; i += 2)
            {
                for (var j = 0; j < groups; j++)
                {
                    means[i, j] *= means[i, j] > 0 ? 1.5e-3 : 1;
                }
            }

            var scores = GroupScoresOf.Means(means);
            var prior = Mixture.Normalized(
                [.. scores.TrainGroups.Select(g => g.Name)],
                [.. Enumerable.Range(0, groups).Select(_ => -Math.Log(1 - random.NextDouble()))]
            );
            var result = new TikmixD
            {
                Alpha = alpha,
                Beta = beta,
                Gamma = gamma,
            }.Optimize(scores, prior);

            Assert.All(result.Targets, t => Assert.True(t.Influence >= t.PriorInfluence - 1e-6, $"seed {seed}: {t}"));
            Assert.InRange(result.Violation, 0, 1e-6);
            converged += result.Converged ? 1 : 0;
        }

        // What does not converge says so; most does.
        Assert.True(converged >= 36, $"{converged} of 40");
    }

    /// <summary>Only the settings' ratios matter, and prices are in the objective's unit.</summary>
    [Fact]
    public void AMultipleOfTheObjectiveHasTheSameAnswer()
    {
        var scores = GroupScoresOf.Means(
            new[,]
            {
                { 1, 0.2, 1 },
                { -1, 1, 0.2 },
            }
        );
        var prior = new Mixture(["a", "b", "c"], [0.1, 0.8, 0.1]);
        var plain = new TikmixD().Optimize(scores, prior);
        foreach (var factor in new[] { 1e-5, 1e5 })
        {
            var other = new TikmixD
            {
                Alpha = factor,
                Beta = factor,
                Gamma = factor,
            }.Optimize(scores, prior);
            Assert.Equal(plain.Mixture.Weights, other.Mixture.Weights, (x, y) => Math.Abs(x - y) < WeightTolerance);

            // The solver's multipliers are right to about 1e-5 of the price.
            Assert.Equal(plain.Targets[1].ShadowPrice, other.Targets[1].ShadowPrice / factor, 1e-4);
        }
    }

    /// <summary>Weights may miss the sum of 1 by 1e-6; that is no reason to find nothing within the bounds.</summary>
    [Fact]
    public void APriorsRoundingIsNoConstraint()
    {
        var result = new TikmixD().Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                }
            ),
            new Mixture(["a", "b", "c"], [0, 0, 1.0000005])
        );

        Assert.Equal(1, result.Mixture["c"], 1e-6);
        Assert.True(result.Violation <= 1e-6);
    }

    /// <summary>A group that helps a target by next to nothing does not blow its other numbers up.</summary>
    [Fact]
    public void ATinyBestGroupIsNotTheScale()
    {
        var result = new TikmixD { Alpha = 0 }.Optimize(
            GroupScoresOf.Means(
                new[,]
                {
                    { 1e-9, -1, -2 },
                }
            )
        );

        Assert.Equal(2, Assert.Single(result.Targets).Scale);
        Assert.False(result.Targets[0].NothingHelps);
    }

    [Fact]
    public void EpochsCapAGroup()
    {
        var scores = GroupScoresOf.Means(
            new double[,]
            {
                { 1, 1, 5 },
            },
            [1000, 1000, 100]
        );
        var tikmix = new TikmixD
        {
            KeepTargets = false,
            Gamma = 0.1,
            Bounds = MixtureBounds.Epochs(scores.TrainGroups, tokenBudget: 2000, epochs: 4),
        };
        var result = tikmix.Optimize(scores);

        Assert.Equal(0.2, result.Mixture["c"], 1e-9);
        var price = Assert.Single(result.Bounds);
        Assert.Equal(("c", true, 0.2), (price.Group, price.Upper, price.Bound));
        Assert.True(price.ShadowPrice > 0 && result.Converged);
    }

    [Fact]
    public void BoundsMayLeaveOneMixtureOnly()
    {
        var bounds = MixtureBounds.Of("a", 0.2, 0.2).And(MixtureBounds.Of("b", 0.5, 0.5)).And(MixtureBounds.Of("c", 0.3, 0.3));
        var result = new TikmixD { KeepTargets = false, Bounds = bounds }.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                    { 2, 1, 0 },
                }
            )
        );

        Assert.Equal([0.2, 0.5, 0.3], result.Mixture.Weights, (a, b) => Math.Abs(a - b) < 1e-9);
    }

    [Fact]
    public void APriorOutsideTheBoundsIsFineWhereSomeMixtureIsAsGood()
    {
        var tikmix = new TikmixD { Bounds = MixtureBounds.Of("a", 0.1, 0.5) };
        var result = tikmix.Optimize(
            GroupScoresOf.Means(
                new double[,]
                {
                    { 1, 2, 4 },
                }
            ),
            new Mixture(["a", "b", "c"], [1, 0, 0])
        );

        Assert.True(result.Converged, $"gap {result.Gap}, violation {result.Violation}");
        Assert.InRange(result.Mixture["a"], 0.1, 0.5);
    }

    [Fact]
    public void InfeasibleConstraintsAreNamed()
    {
        var scores = GroupScoresOf.Means(
            new double[,]
            {
                { 1, 2, 4 },
                { 2, 1, 0 },
            }
        );

        Says(
            () => new TikmixD { Bounds = MixtureBounds.Of("c", 0, 0.3) }.Optimize(scores, new Mixture(["a", "b", "c"], [0, 0, 1])),
            "\"t0\"",
            "0 <= \"c\" <= 0.3",
            "KeepTargets = false"
        );
        Says(
            () => new TikmixD { Bounds = MixtureBounds.Of("a", 0.7).And(MixtureBounds.Of("b", 0.6)) }.Optimize(scores),
            "\"a\" 0.7",
            "\"b\" 0.6",
            "1.3"
        );
        Says(() => new TikmixD { Bounds = MixtureBounds.Epochs(scores.TrainGroups, 30, 1) }.Optimize(scores), "sum to 0.1", "less than 1");
        Says(() => new TikmixD { Bounds = MixtureBounds.Of("z", 0.7) }.Optimize(scores), "\"z\"", "no training group");
        Says(() => MixtureBounds.Of("a", 0.5).And(MixtureBounds.Of("a", 0, 0.4)), "at least 0.5", "at most 0.4");
        Says(() => MixtureBounds.Of("a", 0.5, 0.4), "\"a\"", "0.5", "0.4");
        Says(() => MixtureBounds.Of("a", double.NaN), "NaN");
        Says(() => MixtureBounds.Epochs(scores.TrainGroups, 0, 1), "more than 0");
        Says(() => MixtureBounds.Epochs([.. scores.TrainGroups, scores.TrainGroups[1]], 30, 1), "more than one size", "\"b\"");
    }

    [Fact]
    public void BadSettingsAndGroupsAreRefused()
    {
        var scores = GroupScoresOf.Means(
            new double[,]
            {
                { 1, 2, 4 },
            }
        );

        Says(() => _ = new TikmixD { Alpha = -1 }, "Alpha is at least 0", "-1");
        Says(() => _ = new TikmixD { Gamma = double.NaN }, "Gamma is at least 0", "NaN");
        Says(() => new TikmixD().Optimize(scores, Mixture.Uniform("a", "b", "x")), "lacks \"c\"", "alone has \"x\"");
    }

    private static void Says(Action act, params string[] parts)
    {
        var message = Assert.Throws<InfluenceException>(act).Message;
        Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
    }
}
