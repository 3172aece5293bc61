using System.Globalization;
using Influence.Numerics;

namespace Influence.Recipes;

/// <summary>A random part of n things that is kept back from a fit.</summary>
internal static class HeldOutPart
{
    /// <summary>Positions to fit on and positions kept back, both ascending; each at least one.</summary>
    public static (long[] Fit, long[] HeldOut) Split(int count, double share, long seed, string purpose)
    {
        var held = Math.Clamp((int)Math.Round(count * share), 1, count - 1);
        var order = new KeyedRandom(seed, purpose).Order(count);
        return ([.. order.Skip(held).Order().Select(i => (long)i)], [.. order.Take(held).Order().Select(i => (long)i)]);
    }

    /// <summary>A share that leaves something on both sides.</summary>
    public static double Share(double value, string name) =>
        value is > 0 and < 1
            ? value
            : throw new InfluenceException($"{name} is a share above 0 and below 1, not {value.ToString(CultureInfo.InvariantCulture)}.");
}
