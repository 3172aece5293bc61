using Influence.Stores;
using Xunit;

namespace Influence.Tests.Stores;

/// <summary>Random bits by counter, and the matrices made of them.</summary>
public class PhiloxTests
{
    /// <summary>The reference implementation's known answers.</summary>
    [Fact]
    public void KnownAnswers()
    {
        Assert.Equal((0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u), Philox.Block((0, 0, 0, 0), (0, 0)));
        Assert.Equal(
            (0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu),
            Philox.Block((uint.MaxValue, uint.MaxValue, uint.MaxValue, uint.MaxValue), (uint.MaxValue, uint.MaxValue))
        );
        Assert.Equal(
            (0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u),
            Philox.Block((0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344), (0xa4093822, 0x299f31d0))
        );
    }

    [Fact]
    public void ASmallerMatrixIsTheBeginningOfALargerOne()
    {
        var (large, small) = (SignMatrix.Signs(3, "layer", "outputs", 9, 300), SignMatrix.Signs(3, "layer", "outputs", 5, 130));
        for (var row = 0; row < 5; row++)
        {
            Assert.Equal(large.AsSpan(row * 300, 130).ToArray(), small.AsSpan(row * 130, 130).ToArray());
        }

        Assert.All(large, sign => Assert.Equal(1, Math.Abs(sign)));
        Assert.InRange(large.Sum(), -4 * Math.Sqrt(2700), 4 * Math.Sqrt(2700)); // four standard deviations
        Assert.NotEqual(large, SignMatrix.Signs(4, "layer", "outputs", 9, 300));
        Assert.NotEqual(large, SignMatrix.Signs(3, "other", "outputs", 9, 300));
        Assert.NotEqual(large, SignMatrix.Signs(3, "layer", "inputs", 9, 300));
    }
}
