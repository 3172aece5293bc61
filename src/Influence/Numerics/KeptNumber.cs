using TorchSharp;

namespace Influence.Numerics;

/// <summary>
/// Numbers on their way to libtorch. TorchSharp turns a number into a <see cref="Scalar"/>, hands its address over and has no more use for
/// the object, so that optimised code lets its finaliser free it while libtorch still reads it: the call then fails, or computes with
/// whatever lies there. Each thread therefore holds on to its latest ones. BannedSymbols.txt keeps every other way out of this assembly.
/// </summary>
internal static class KeptNumber
{
    /// <summary>More than a call takes, with the calls that its arguments make; a power of two.</summary>
    private const int Count = 256;

    [ThreadStatic]
    private static Scalar?[]? s_kept;

    [ThreadStatic]
    private static int s_next;

#pragma warning disable RS0030 // The one place where numbers become scalars.
    public static Scalar Kept(double value) => Keep(value);

    public static Scalar Kept(long value) => Keep(value);

    public static Scalar Kept(int value) => Keep(value);
#pragma warning restore RS0030

    private static Scalar Keep(Scalar number)
    {
        s_kept ??= new Scalar?[Count];
        s_next = (s_next + 1) & (Count - 1);
        return s_kept[s_next] = number;
    }
}
