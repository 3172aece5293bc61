using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>What is approximated keeps its stated bound, and is used where it is said to be.</summary>
public class ApproximationTests
{
    /// <summary>Smooth weights 1/(a g + damping): few terms hold every entry, or each example is held to the bound.</summary>
    [Theory]
    [InlineData(1e-2)]
    [InlineData(1e-3)]
    [InlineData(1e-5)]
    public void FewTermsHoldTheBoundOfEveryPair(double tolerance)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(5);
        var weights = Weights(60, 90, noise: 0);
        var energy = (weights.reciprocal() - 0.05).clamp_min(0);
        using var few = SpectralWeights.InTerms(weights, energy, tolerance)!;
        Assert.InRange(few.Terms!.Rank, 2, 18);
        Assert.Null(SpectralWeights.InTerms(Weights(60, 90, noise: 1), energy, 1e-5));
        var (g, a) = (energy.mean([1]).sqrt(), energy.mean([0]).sqrt());
        var (qa, qd) = (randn([7, 1, 90], dtype: float64) * a, randn([7, 1, 60], dtype: float64) * g);
        var (za, zd) = (randn([50, 1, 90], dtype: float64) * a, randn([50, 1, 60], dtype: float64) * g);
        za[..5] = randn([5, 1, 90], dtype: float64);
        var found = zeros([7, 50], float64);
        SpectralProducts.Add(found, qa, qd, new FactoredGradients(za.alias, zd, 90, weight: true, bias: false), few, 10_000);
        var (q, z) = (qd.transpose(1, 2) * qa, zd.transpose(1, 2) * za);
        var expected = (q * weights).reshape(7, -1).mm(z.reshape(50, -1).t());
        var bound = (q.Squared() * weights).sum(1, 2).sqrt().unsqueeze(1) * (z.Squared() * weights).sum(1, 2).sqrt().unsqueeze(0);
        Assert.InRange(((found - expected).abs() / bound).max().item<double>(), 1e-14, tolerance);
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.03)]
    public void LowRankQueriesHoldTheirBound(double tolerance)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(1);
        var weights = Weights(96, 80, noise: 0.1);
        var energy = weights.reciprocal() - 0.05;
        var (d, a) = (
            randn([3, 2, 96], dtype: float64) * energy.mean([1]).sqrt(),
            randn([3, 2, 80], dtype: float64) * energy.mean([0]).sqrt()
        );
        var spectrum = d.transpose(1, 2).matmul(a) * weights;
        var (u, v) = LowRankQueries.Of(spectrum, weights, tolerance)!.Value;
        var error = ((spectrum - u.matmul(v)).Squared() / weights).sum(1, 2).sqrt();
        Assert.True(error.le((spectrum.Squared() / weights).sum(1, 2).sqrt() * tolerance).all().item<bool>());
        Assert.True(v.shape[1] <= 40);
        Assert.Null(LowRankQueries.Of(randn([3, 96, 80], dtype: float64), ones([96, 80], dtype: float64), 1e-3));
    }

    /// <summary>
    /// A layer whose queries are of low rank beside one whose queries are not and fill the memory: the planner may then write the
    /// former out, with its bias.
    /// </summary>
    [Fact]
    public void QueriesOfLowRankCanBeWrittenOut()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(43);
        var (first, all) = (nn.Linear(64, 64, dtype: float64), nn.Linear(64, 1024, dtype: float64));
        var model = new Composite(
            x => cat([first.call(x).tanh().select(1, 0), all.call(x).tanh().sum(1)], 1),
            ("first", first),
            ("all", all)
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).Squared().sum(1) };
        var train = Examples.FromTensors(randn([5, 64, 64], dtype: float64)) with { BatchSize = 3 };
        var queries = Examples.FromTensors(randn([42, 64, 64], dtype: float64)) with { BatchSize = 6 };
        using var fit = Ekfac.Fit(task, train, LayerwiseMethods.Empirical with { Damping = Damping.RelativeToMeanEigenvalue(1000) });
        using var exact = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, queries);
        foreach (var budget in new[] { 1L << 30, 20_000_000, 7_000_000, 4_000_000, 2_000_000 })
        {
            using var scores = new InfluenceFunction(fit) { MemoryBudget = budget }.Score(task, train, queries);
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, exact.Values) < 1e-2, $"{budget}");
        }
    }

    /// <summary>Little memory, wide layers, several positions: queries are kept as few outer products, within the bound of every
    /// pair.</summary>
    [Fact]
    public void QueriesThatDoNotFitAreKeptInLowRank()
    {
        torch.random.manual_seed(2);
        using var model = nn.Sequential(nn.Linear(96, 80, dtype: float64), nn.Tanh(), nn.Linear(80, 64, dtype: float64));
        model.eval();
        using var scope = NewDisposeScope();
        var scale = arange(1, 97, 1, float64).pow(-1.5);
        var (train, queries) = (Data(40), Data(30));
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b["x"]), b["y"]) };
        using var fit = Ekfac.Fit(task, train);

        using var exact = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, queries);
        const double Tolerance = 0.1;
        using var scores = new InfluenceFunction(fit) { Tolerance = Tolerance, MemoryBudget = 1 << 21 }.Score(task, train, queries);

        var selfQuery = new InfluenceFunction(fit).SelfInfluence(task, queries);
        var selfTrain = new InfluenceFunction(fit).SelfInfluence(task, train);
        var bound = tensor(selfQuery.Values.ToArray()).unsqueeze(1).sqrt() * tensor(selfTrain.Values.ToArray()).unsqueeze(0).sqrt();
        var relative = ((scores.Values - exact.Values).abs() / bound).max().item<double>();
        Assert.InRange(relative, 1e-12, Tolerance);

        using var oneByOne = new InfluenceFunction(fit) { Tolerance = 0, MemoryBudget = 1 << 21 }.Score(task, train, queries);
        Assert.True(SingleExampleLoop.RelativeError(oneByOne.Values, exact.Values) < 1e-10);

        Examples Data(long n) =>
            Examples.FromTensors(("x", randn([n, 2, 96], dtype: float64) * scale), ("y", randn([n, 2, 64], dtype: float64)));
    }

    /// <summary>One position per example: bands share weights where that is allowed, and each example is held to the bound.</summary>
    [Theory]
    [InlineData(0.1)]
    [InlineData(0.01)]
    public void BandsHoldTheBoundOfEveryPair(double tolerance)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        var weights = Weights(100, 120, noise: 0.5);
        var energy = (weights.reciprocal() - 0.05).clamp_min(0);
        using var bands = SpectralWeights.Within(weights, energy, tolerance);
        using var all = SpectralWeights.Exact(weights);
        Assert.Contains(bands.Bands, b => b.Own > 0);

        // Examples as the fit saw them, and some that it did not expect: large where eigenvalues are small.
        var (g, a) = (energy.mean([1]).sqrt(), energy.mean([0]).sqrt());
        var (qa, qd) = (randn([7, 1, 120], dtype: float64) * a, randn([7, 1, 100], dtype: float64) * g);
        var (za, zd) = (randn([50, 1, 120], dtype: float64) * a, randn([50, 1, 100], dtype: float64) * g);
        za[..5] = randn([5, 1, 120], dtype: float64);
        var train = new FactoredGradients(za.alias, zd, 120, weight: true, bias: false);

        var approximate = zeros([7, 50], float64);
        SpectralProducts.Add(approximate, qa, qd, train, bands, 10_000);
        var exact = zeros([7, 50], float64);
        SpectralProducts.Add(exact, qa, qd, train, all, 10_000);
        var (q, z) = (qd.transpose(1, 2) * qa, zd.transpose(1, 2) * za);
        var expected = (q * weights).reshape(7, -1).mm(z.reshape(50, -1).t());
        Assert.True(SingleExampleLoop.RelativeError(exact, expected) < 1e-12);

        var bound = (q.Squared() * weights).sum(1, 2).sqrt().unsqueeze(1) * (z.Squared() * weights).sum(1, 2).sqrt().unsqueeze(0);
        Assert.InRange(((approximate - expected).abs() / bound).max().item<double>(), 1e-14, tolerance);
    }

    /// <summary>A batch whose gradients along the eigenvectors are too many to be written out at once is taken in parts.</summary>
    [Fact]
    public void ALargeBatchIsFittedInParts()
    {
        torch.random.manual_seed(4);
        using var model = nn.Linear(300, 256, dtype: float64);
        model.eval();
        using var scope = NewDisposeScope();
        var train = Examples.FromTensors(("x", randn([250, 2, 300], dtype: float64)), ("y", randn([250, 2, 256], dtype: float64)));
        Assert.True(250L * 301 * 256 > KroneckerFit.NumbersAtOnce);
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b["x"]), b["y"]) };
        using var whole = Ekfac.Fit(task, train with { BatchSize = 250 });
        using var parts = Ekfac.Fit(task, train with { BatchSize = 50 });
        Assert.Equal(parts.MeanEigenvalues[0].MeanEigenvalue, whole.MeanEigenvalues[0].MeanEigenvalue, 1e-9);
        using var scores = new InfluenceFunction(whole) { Tolerance = 0 }.Score(task, train, train.Only([0, 1]));
        using var expected = new InfluenceFunction(parts) { Tolerance = 0 }.Score(task, train, train.Only([0, 1]));
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-9);
    }

    /// <summary>1/(eigenvalue + damping) with eigenvalues that fall by powers, and measured ones that scatter around them.</summary>
    private static Tensor Weights(long rows, long columns, double noise)
    {
        var g = arange(rows, 0, -1, float64).pow(-2);
        var a = arange(columns, 0, -1, float64).pow(-2);
        var scatter = noise == 0 ? ones([rows, columns], float64) : (randn([rows, columns], dtype: float64) * noise).exp();
        return (g.outer(a) * 1000 * scatter + 0.05).reciprocal();
    }
}
