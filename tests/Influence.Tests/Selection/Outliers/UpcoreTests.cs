using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class UpcoreTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new Upcore { Seed = seed, Trees = 25 };

    /// <summary>The sheet's check: of 100 candidates ten lie far off, and exactly they are left out.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(42)]
    public void FarOutliersAreLeftOut(long seed)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var features = randn(100, 6);
        features.narrow(0, 30, 10).add_(randn(10, 6).sign() * 12);
        using var pool = new SelectionPool([.. Enumerable.Range(0, 100).Select(i => (long)i)]) { Features = features };
        var core = new Upcore { Seed = seed }.Select(pool, SelectionBudget.Fraction(0.9));
        Assert.Equal(90, core.Count);
        Assert.DoesNotContain(core.Ids, id => id is >= 30 and < 40);
    }

    /// <summary>c(n) by its definition 2 H(n-1) - 2 (n-1)/n, whose logarithm is an approximation to 1/(2n); equal rows cannot be told
    /// apart.</summary>
    [Fact]
    public void PathLengthsAreThoseOfBinaryTrees()
    {
        Assert.Equal(0, IsolationForest.PathLength(1));
        Assert.Equal(1, IsolationForest.PathLength(2));
        foreach (var n in new[] { 50, 256 })
        {
            var exact = (2 * Enumerable.Range(1, n - 1).Sum(i => 1.0 / i)) - (2.0 * (n - 1) / n);
            Assert.Equal(exact, IsolationForest.PathLength(n), 1.5 / n);
        }

        double[][] equal =
        [
            [1, 2],
            [1, 2],
            [1, 2],
        ];
        Assert.Single(IsolationForest.Scores(equal, 10, 256, 0, default).Distinct());
    }

    [Fact]
    public void BadSettingsAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new Upcore { Trees = 0 });
        Assert.Throws<InfluenceException>(() => new Upcore { SampleSize = 1 });
        using var pool = new SelectionPool([1, 2, 3]);
        Assert.Contains(
            "features",
            Assert.Throws<InfluenceException>(() => new Upcore().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }
}
