using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Samples;

/// <summary>
/// A generator of its own for each purpose: what one of them draws (more epochs, say) changes nothing for the others.
/// </summary>
internal static class Randomness
{
    public static Random For(int seed, string purpose) => new(SeedFor(seed, purpose));

    // Not string.GetHashCode, which differs from process to process.
    public static int SeedFor(int seed, string purpose)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{seed} {purpose}"));
        return BinaryPrimitives.ReadInt32LittleEndian(hash) & int.MaxValue;
    }
}
