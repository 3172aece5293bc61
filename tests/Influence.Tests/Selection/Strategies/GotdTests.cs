using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class GotdTests : SelectionStrategyContract, IDisposable
{
    private readonly Tensor _targets = rand([7, 5], generator: new Generator(3));

    public void Dispose() => _targets.Dispose();

    protected override SelectionStrategy Strategy(long seed) => new Gotd { Seed = seed, Targets = _targets };

    /// <summary>
    /// Candidates 0, 1, 10, targets .2, 2, cost |x - y|: c = (-4.1, -3.2, 7.3). The entropic value is off by about epsilon
    /// times a logarithm of the masses: 0.01 here, and 0.05 is allowed.
    /// </summary>
    [Fact]
    public void TheCalibratedPotentialIsTheSheets()
    {
        using var scope = NewDisposeScope();
        using var transport = new Sinkhorn(Column(0, 1, 10), Column(0.2, 2), FeatureDistance.Euclidean);
        var (potential, value, error, _) = transport.Solve(Mass(3), Mass(2), 0.01, 1e-9, 100_000, _ => { });
        scope.Attach(potential);
        Assert.InRange(error, 0, 1e-9);
        Assert.Equal(9.1 / 3, value, 0.05);
        var c = Gotd.Calibrated(potential.data<double>().ToArray());
        Assert.Equal(-4.1, c[0], 0.05);
        Assert.Equal(-3.2, c[1], 0.05);
        Assert.Equal(7.3, c[2], 0.05);
        Assert.Equal(0, c.Sum(), 1e-9);
    }

    /// <summary>Central differences of a smooth function: steps of 1e-4 leave an error near 1e-7; 1e-5 is allowed.</summary>
    [Theory]
    [InlineData(FeatureDistance.Euclidean)]
    [InlineData(FeatureDistance.Cosine)]
    public void TheCalibratedPotentialIsTheRateOfChangeOfTheDistance(FeatureDistance cost)
    {
        using var scope = NewDisposeScope();
        const int n = 6;
        var generator = new Generator(5);
        using var transport = new Sinkhorn(
            rand([n, 3], ScalarType.Float64, generator: generator),
            rand([4, 3], ScalarType.Float64, generator: generator),
            cost
        );
        var epsilon = 0.2 * transport.MedianCost();
        var (potential, _, _, _) = transport.Solve(Mass(n), Mass(4), epsilon, 1e-13, 100_000, _ => { });
        scope.Attach(potential);
        var c = Gotd.Calibrated(potential.data<double>().ToArray());
        for (var i = 0; i < n; i++)
        {
            const double step = 1e-4;
            Assert.Equal(c[i], (Value(i, step) - Value(i, -step)) / (2 * step), 1e-5);
        }

        double Value(int i, double step)
        {
            var masses = Enumerable.Range(0, n).Select(j => (1.0 / n) + (j == i ? step : -step / (n - 1))).ToArray();
            var (f, value, _, _) = transport.Solve(tensor(masses), Mass(4), epsilon, 1e-13, 100_000, _ => { });
            f.Dispose();
            return value;
        }
    }

    [Fact]
    public void PicksTheCandidatesOfTheTargetsKindMostNegativeFirst()
    {
        using var pool = new SelectionPool([10, 20, 30]) { Features = Column(10, 0, 1).to_type(ScalarType.Float32) };
        using var targets = Column(0.2, 2);
        var selected = new Gotd
        {
            Targets = targets,
            Cost = FeatureDistance.Euclidean,
            Regularization = 0.01,
            MaximumIterations = 20_000,
        }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([20, 30, 10], selected.Ids);
        Assert.Equal(0, selected.Utilities.Sum(), 1e-9);
        Assert.Empty(selected.Notes);
        Assert.Contains("Targets = [2, 1]", selected.Settings, StringComparison.Ordinal);
    }

    /// <summary>Blocks of rows, whether kept or made anew, are a matter of memory only. Sums in another order: 1e-12.</summary>
    [Theory]
    [InlineData(1L << 25)]
    [InlineData(0)]
    public void BlocksChangeNothing(long kept)
    {
        using var scope = NewDisposeScope();
        var generator = new Generator(1);
        var (left, right) = (
            rand([9, 2], ScalarType.Float64, generator: generator),
            rand([5, 2], ScalarType.Float64, generator: generator)
        );
        using var blocks = new Sinkhorn(left, right, FeatureDistance.Euclidean, blockElements: 20, keptElements: kept);
        using var whole = new Sinkhorn(left, right, FeatureDistance.Euclidean);
        var (potential, value, _, iterations) = blocks.Solve(Mass(9), Mass(5), 0.1, 1e-6, 1000, _ => { });
        var (expected, expectedValue, _, expectedIterations) = whole.Solve(Mass(9), Mass(5), 0.1, 1e-6, 1000, _ => { });
        scope.Attach(potential);
        scope.Attach(expected);
        Assert.Equal(expectedIterations, iterations);
        Assert.Equal(expectedValue, value, 1e-12);
        Assert.True(allclose(expected, potential, 1e-12, 1e-12));
    }

    [Fact]
    public void IdenticalPointsAreServedAndAnIterationTooFewIsNoted()
    {
        using var pool = new SelectionPool([3, 1, 2]) { Features = ones(3, 2) };
        using var targets = ones(2, 2);
        Assert.Equal(
            [1, 2, 3],
            new Gotd { Targets = targets, Cost = FeatureDistance.Euclidean }
                .Select(pool, SelectionBudget.Count(3))
                .Ids
        );
        using var other = Pool([.. Enumerable.Range(0, 60)]);
        var selected = new Gotd { Targets = _targets, MaximumIterations = 2 }.Select(other, SelectionBudget.Count(3));
        Assert.Contains("after 2 iterations", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void TargetsOfAnotherWidthAndSettingsThatAreWrongAreRefused()
    {
        using var pool = new SelectionPool([1, 2]) { Features = ones(2, 3) };
        var problem = Assert.Throws<InfluenceException>(() => new Gotd { Targets = _targets }.Select(pool, SelectionBudget.Count(1)));
        Assert.Contains("[M, 3]", problem.Message, StringComparison.Ordinal);
        using var bad = full([1, 3], float.NaN);
        Assert.Contains(
            "finite",
            Assert.Throws<InfluenceException>(() => new Gotd { Targets = bad }.Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new Gotd { Targets = _targets, Regularization = 0 });
        Assert.Throws<InfluenceException>(() => new Gotd { Targets = _targets, Tolerance = double.NaN });
        Assert.Throws<InfluenceException>(() => new Gotd { Targets = _targets, MaximumIterations = 0 });
    }

    private static Tensor Column(params double[] values) => tensor(values).unsqueeze(1);

    private static Tensor Mass(int n) => full([n], 1.0 / n, ScalarType.Float64);
}
