namespace Influence.Curvature;

/// <summary>How a covariance matrix is cut into diagonal blocks.</summary>
internal static class FactorLayout
{
    /// <summary>Equal blocks of at most the maximum size.</summary>
    public static long[] Sizes(long size, long maximum) => Even(size, (size + maximum - 1) / maximum);

    /// <summary>The parts of a fused layer, each again cut to the maximum size.</summary>
    public static long[] Sizes(IEnumerable<long> parts, long maximum) => [.. parts.SelectMany(part => Sizes(part, maximum))];

    private static long[] Even(long size, long blocks) =>
        [.. Enumerable.Range(0, (int)blocks).Select(k => ((k + 1) * size / blocks) - (k * size / blocks))];
}
