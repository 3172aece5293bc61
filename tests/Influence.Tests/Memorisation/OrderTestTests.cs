using Influence.Memorisation;
using Xunit;

namespace Influence.Tests.Memorisation;

public class OrderTestTests
{
    /// <summary>The sheet's check: losses 5, 4, 3, 2 in order have the correlation -1, of 24 orders the only one.</summary>
    [Fact]
    public void TheSheetsExample()
    {
        var result = new OrderTest().Test([1, 2, 3, 4], [5, 4, 3, 2]);
        Assert.Equal(-1, result.Correlation, 1e-12);
        Assert.Equal(1 / 24.0, result.PValue, 1e-12);
        Assert.True(result.IsExhaustive);
        Assert.Equal(1, new OrderTest().Test([1, 2, 3, 4], [2, 3, 4, 5]).PValue, 1e-12);

        // A reference that explains the fall takes it off.
        Assert.Equal(1, new OrderTest().Test([1, 2, 3, 4], [5, 4, 3, 2], [8, 6, 4, 2]).Correlation, 1e-12);
    }

    /// <summary>With random orders, losses that fall strictly have the smallest p-value there is; losses without an order have p-values
    /// like any other number from 0 to 1.</summary>
    [Fact]
    public void PValuesAreUniformWithoutAnOrder()
    {
        long[] positions = [.. Enumerable.Range(0, 40).Select(i => (long)i)];
        var test = new OrderTest { Permutations = 199 };
        Assert.Equal(1 / 200.0, test.Test(positions, [.. positions.Select(p => 1.0 / (1 + p))]).PValue, 1e-12);
        var values = Enumerable
            .Range(0, 300)
            .Select(seed =>
            {
                var random = new Random(seed);
                return (test with { Seed = seed }).Test(positions, [.. positions.Select(_ => random.NextDouble())]).PValue;
            })
            .ToList();

        // The mean of 300 uniform numbers has a deviation of 0.0167, the count below 0.1 one of 5.2: four of each.
        Assert.InRange(values.Average(), 0.5 - 0.067, 0.5 + 0.067);
        Assert.InRange(values.Count(p => p <= 0.1), 30 - 21, 30 + 21);
    }

    [Fact]
    public void BadInputIsRefused()
    {
        Assert.Throws<InfluenceException>(() => new OrderTest().Test([1, 2], [1, 2]));
        Assert.Throws<InfluenceException>(() => new OrderTest().Test([1, 1, 2], [1, 2, 3]));
        Assert.Throws<InfluenceException>(() => new OrderTest().Test([1, 2, 3], [1, 2, double.NaN]));
        Assert.Throws<InfluenceException>(() => new OrderTest().Test([1, 2, 3], [1, 1, 1]));
        Assert.Throws<InfluenceException>(() => new OrderTest { Permutations = 5 });
    }
}
