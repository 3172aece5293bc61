namespace Influence.Gradients;

/// <summary>
/// How much is written out at once. What is read again soon should still be in the processor's caches then; and glibc gives pieces above
/// some megabytes back to the system when they are freed, so that each next one is fresh pages, which cost more to take than the
/// products that are written to them.
/// </summary>
internal static class Pieces
{
    /// <summary>Numbers of one piece: 4 MB in float32.</summary>
    public const long Numbers = 1 << 20;

    /// <summary>How many things of a size make a piece, at least one and at most all of them.</summary>
    /// <param name="size">Numbers of one.</param>
    /// <param name="all">How many there are.</param>
    public static long Of(double size, long all) => (long)Math.Clamp(Numbers / Math.Max(1, size), 1, Math.Max(1, all));
}
