using Influence.Mixtures;
using Influence.Numerics;
using Influence.Tests.Oracles;
using Xunit;

namespace Influence.Tests.Mixtures;

public class MixtureRegressionTests
{
    private static readonly string[] s_names = ["a", "b", "c", "d"];
    private static readonly double[] s_slopes = [3, -1, 0.5, 2];

    [Fact]
    public void ALatinHypercubeHasOnePointInEverySlice()
    {
        var points = LatinHypercube.Sample([0, 1, -2], [1, 3, -2], 25, seed: 2);

        Assert.Equal(Enumerable.Range(0, 25), points.Select(p => (int)(p[0] * 25)).Order());
        Assert.Equal(Enumerable.Range(0, 25), points.Select(p => (int)((p[1] - 1) / 2 * 25)).Order());
        Assert.All(points, p => Assert.Equal(-2, p[2]));
        Assert.Equal(points, LatinHypercube.Sample([0, 1, -2], [1, 3, -2], 25, seed: 2));
        Assert.NotEqual(points, LatinHypercube.Sample([0, 1, -2], [1, 3, -2], 25, seed: 3));
        Assert.Throws<InfluenceException>(() => LatinHypercube.Sample([0], [1, 2], 3));
        Assert.Throws<InfluenceException>(() => LatinHypercube.Sample([2], [1], 3));
        Assert.Throws<InfluenceException>(() => LatinHypercube.Sample([0], [1], 0));
    }

    /// <summary>Coefficients are not identified where weights sum to 1; predictions of new mixtures are.</summary>
    [Fact]
    public void ALinearLossIsPredictedExactly()
    {
        var regression = MixtureRegression.Fit(Observe(20, 1, Linear));

        // The penalty that wins is the smallest, 1e-12: its shrinkage and rounding stay well below 1e-8.
        Assert.All(Mixtures(50, 2), m => Assert.Equal(Linear(m), regression.Predict(m), 1e-8));
        Assert.Equal(1, regression.HeldOutRankCorrelation, 1e-12);
    }

    [Fact]
    public void AQuadraticLossWantsQuadraticFeatures()
    {
        static double Loss(Mixture m) => Linear(m) + (4 * m["a"] * m["b"]) - (3 * m["c"] * m["c"]);
        var (best, other) = MixtureRegression.FitBest(Observe(60, 3, Loss));

        Assert.Equal((MixtureFeatures.Quadratic, MixtureFeatures.Linear), (best.Features, other.Features));
        Assert.All(Mixtures(50, 4), m => Assert.Equal(Loss(m), best.Predict(m), 1e-6));
        Assert.InRange(other.HeldOutRankCorrelation, 0.5, best.HeldOutRankCorrelation);
    }

    /// <summary>Noise without signal is shrunk to the mean, and the held-out correlation says so.</summary>
    [Fact]
    public void NoiseIsShrunk()
    {
        var random = new Random(5);
        var observed = Mixtures(200, 5).Select(m => new Mixture.Point(m, random.NextDouble())).ToList();
        var regression = MixtureRegression.Fit(observed, MixtureFeatures.Quadratic);

        // Spearman's standard error over 200 pairs is 0.07.
        Assert.InRange(regression.HeldOutRankCorrelation, -0.3, 0.25);
        Assert.True(regression.Ridge > 0.1, $"{regression.Ridge}");
    }

    /// <summary>
    /// So it is where features outnumber mixtures (90 of 64): almost no penalty fits every value, leaves residuals and 1 - h of rounding
    /// size, and must not win by them.
    /// </summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void NoiseIsShrunkWhereItCouldBeInterpolated(int seed)
    {
        var random = new Random(seed);
        string[] names = [.. Enumerable.Range(0, 12).Select(j => $"g{j}")];
        Mixture Draw() => Mixture.Normalized(names, [.. names.Select(_ => -Math.Log(1 - random.NextDouble()))]);
        var observed = Enumerable.Range(0, 64).Select(_ => new Mixture.Point(Draw(), Math.Sqrt(12) * (random.NextDouble() - 0.5))).ToList();
        var regression = MixtureRegression.Fit(observed, MixtureFeatures.Quadratic, seed);
        var spread = Math.Sqrt(Enumerable.Range(0, 500).Average(_ => Math.Pow(regression.Predict(Draw()), 2)));

        // The noise has a deviation of 1, so that interpolation predicts with one of more than 2, and the mean with 0.125.
        Assert.True(regression.Ridge > 0.1, $"ridge {regression.Ridge}");
        Assert.InRange(spread, 0, 0.6);
    }

    /// <summary>A signal without noise is still worth interpolating with fewer mixtures than features.</summary>
    [Fact]
    public void ASignalIsInterpolated()
    {
        string[] names = [.. Enumerable.Range(0, 30).Select(j => $"g{j}")];
        var random = new Random(1);
        Mixture Draw() => Mixture.Normalized(names, [.. names.Select(_ => -Math.Log(1 - random.NextDouble()))]);
        var observed = Enumerable
            .Range(0, 20)
            .Select(_ => Draw())
            .Select(m => new Mixture.Point(m, (5 * m["g0"]) - (5 * m["g1"])))
            .ToList();
        var regression = MixtureRegression.Fit(observed);
        var fresh = Enumerable.Range(0, 200).Select(_ => Draw()).ToList();

        // 20 of 29 directions are seen: some two thirds of the signal's variance, and no more can be learnt.
        Assert.InRange(Spearman.Of([.. fresh.Select(m => m["g0"] - m["g1"])], [.. fresh.Select(regression.Predict)]), 0.5, 1);
    }

    /// <summary>The closed form of the chosen penalty's leave-one-out error is what leaving out gives: it predicts held-out points as ridge
    /// does.</summary>
    [Fact]
    public void NoisyLinearLossIsRankedWell()
    {
        var random = new Random(6);
        var observed = Mixtures(80, 6).Select(m => new Mixture.Point(m, Linear(m) + (0.2 * (random.NextDouble() - 0.5)))).ToList();
        var regression = MixtureRegression.Fit(observed);
        var fresh = Mixtures(80, 7).ToList();
        var correlation = Spearman.Of([.. fresh.Select(Linear)], [.. fresh.Select(regression.Predict)]);

        Assert.True(correlation > 0.98, $"{correlation}");
        Assert.Equal(correlation, regression.HeldOutRankCorrelation, 0.05);
    }

    [Fact]
    public void OrderOfGroupsDoesNotMatterAndConstantsAreAllRight()
    {
        var observed = Observe(20, 8, Linear);
        var regression = MixtureRegression.Fit(observed, MixtureFeatures.Quadratic);
        var mixture = new Mixture(s_names, [0.1, 0.2, 0.3, 0.4]);
        var permuted = new Mixture([.. s_names.Reverse()], [0.4, 0.3, 0.2, 0.1]);
        Assert.Equal(regression.Predict(mixture), regression.Predict(permuted));

        // A group without weight anywhere, and a loss that never changes.
        var three = Mixtures(10, 9).Select(m => new Mixture.Point(new(s_names, [m["a"] + m["d"], m["b"], m["c"], 0]), 7)).ToList();
        var constant = MixtureRegression.Fit(three);
        Assert.Equal(7, constant.Predict(mixture), 1e-9);
        Assert.True(double.IsNaN(constant.HeldOutRankCorrelation));
        var same = Enumerable.Range(0, 5).Select(i => new Mixture.Point(mixture, i)).ToList();
        Assert.Equal(2, MixtureRegression.Fit(same).Predict(permuted), 1e-9);
    }

    [Fact]
    public void BadInputIsRefused()
    {
        var observed = Observe(10, 1, Linear);
        Says(() => MixtureRegression.Fit([.. observed.Take(3)]), "at least 4", "found 3");
        Says(() => MixtureRegression.Fit([.. observed, new(observed[0].Mixture, double.NaN)]), "NaN");
        Says(() => MixtureRegression.Fit([.. observed, new(Mixture.Uniform("x"), 1)]), "\"x\"");
        Says(() => MixtureRegression.Fit(observed).Predict(Mixture.Uniform("x")), "\"x\"");
    }

    private static double Linear(Mixture m) => 1 + m.Names.Sum(name => m[name] * s_slopes[Array.IndexOf(s_names, name)]);

    private static List<Mixture.Point> Observe(int count, int seed, Func<Mixture, double> loss) =>
        [.. Mixtures(count, seed).Select(m => new Mixture.Point(m, loss(m)))];

    private static IEnumerable<Mixture> Mixtures(int count, int seed)
    {
        var random = new Random(seed);
        return Enumerable
            .Range(0, count)
            .Select(_ => Mixture.Normalized(s_names, [.. s_names.Select(_ => -Math.Log(1 - random.NextDouble()))]))
            .ToList();
    }

    private static void Says(Func<object> act, params string[] parts)
    {
        var message = Assert.Throws<InfluenceException>(act).Message;
        Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
    }
}
