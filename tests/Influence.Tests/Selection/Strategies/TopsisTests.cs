using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class TopsisTests : SelectionStrategyContract
{
    private static readonly ExampleScores s_don = ExampleScores.Of([1, 2, 3], [0.1, -0.1, 0]);
    private static readonly ExampleScores s_nod = ExampleScores.Of([3, 2, 1], [0.05, 0.1, 0.2]);

    protected override SelectionStrategy Strategy(long seed) => new Topsis { Seed = seed };

    /// <summary>DONOD's two metrics: rows (0.1, 0.2), (-0.1, 0.1), (0, 0.05), the first the higher the better, the second the
    /// lower.</summary>
    [Fact]
    public void TheWorkedExample()
    {
        using var pool = new SelectionPool([s_don, s_nod]);
        var selected = new Topsis { Directions = [Topsis.Order.Higher, Topsis.Order.Lower] }.Select(pool, SelectionBudget.Fraction(1));
        Assert.Equal([1, 3, 2], selected.Ids);
        double[] expected = [0.683569, 0.576768, 0.233715];
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(expected[i], selected.Utilities[i], 1e-6); // six decimals are given
        }
    }

    [Fact]
    public void OneMetricIsItsOrder()
    {
        using var pool = new SelectionPool([s_nod]);
        Assert.Equal(
            [3, 2, 1],
            new Topsis { Directions = [Topsis.Order.Lower] }
                .Select(pool, SelectionBudget.Count(3))
                .Ids
        );
        Assert.Equal([1, 2, 3], new Topsis().Select(pool, SelectionBudget.Count(3)).Ids);
    }

    [Fact]
    public void AWeightOfZeroLeavesAMetricOutAndScaleIsNothing()
    {
        using var pool = new SelectionPool([s_don, s_nod]);
        using var scaled = new SelectionPool([ExampleScores.Of([1, 2, 3], [1e200, -1e200, 0]), s_nod]);
        var strategy = new Topsis { Weights = [1, 0] };
        Assert.Equal([1, 3, 2], strategy.Select(pool, SelectionBudget.Count(3)).Ids);
        var (plain, large) = (new Topsis().Select(pool, SelectionBudget.Count(3)), new Topsis().Select(scaled, SelectionBudget.Count(3)));
        Assert.Equal(plain.Ids, large.Ids);
        Assert.Equal(plain.Utilities[0], large.Utilities[0], 1e-12); // the same numbers in another scale, but for rounding
    }

    [Fact]
    public void ConstantMetricsAreLeftOutAndNamed()
    {
        using var pool = new SelectionPool([ExampleScores.Of([1, 2, 3], [0, 0, 0]), s_nod]);
        var selected = new Topsis().Select(pool, SelectionBudget.Count(3));
        Assert.Equal([1, 2, 3], selected.Ids);
        Assert.Contains("metrics 0", Assert.Single(selected.Notes), StringComparison.Ordinal);

        using var constant = new SelectionPool([ExampleScores.Of([7, 8], [2, 2])]);
        Assert.Equal([0.5, 0.5], new Topsis().Select(constant, SelectionBudget.Count(2)).Utilities);
    }

    [Fact]
    public void SettingsFitTheMetrics()
    {
        using var pool = new SelectionPool([s_don, s_nod]);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new Topsis { Directions = [Topsis.Order.Lower], Weights = [1, 2, 3] }.Select(pool, SelectionBudget.Count(1))
        );
        Assert.Contains("Directions has 1", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("Weights has 3", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new Topsis { Weights = [0, 0] });
        Assert.Throws<InfluenceException>(() => new Topsis { Weights = [1, -1] });
        Assert.Contains(
            "Higher, Lower",
            new Topsis { Directions = [Topsis.Order.Higher, Topsis.Order.Lower] }.ToString(),
            StringComparison.Ordinal
        );
    }
}
