using Xunit;

namespace Influence.Tests.Oracles;

public class SpearmanTests
{
    [Fact]
    public void TiesGetTheAverageOfTheirRanks() => Assert.Equal([2.5, 1, 4, 2.5], Spearman.Ranks([5, -1, 7, 5]));

    /// <summary>1 - 6 sum d^2 / (n (n^2 - 1)) where there are no ties.</summary>
    [Fact]
    public void KnownValues()
    {
        Assert.Equal(1, Spearman.Of([1, 2, 3], [10, 100, 1000]), 12);
        Assert.Equal(-1, Spearman.Of([1, 2, 3], [3, 2, 1]), 12);
        Assert.Equal(0.8, Spearman.Of([1, 2, 3, 4], [1, 2, 4, 3]), 12);
    }
}
