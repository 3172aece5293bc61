namespace Influence.Stores;

/// <summary>
/// Philox4x32-10: 128 random bits from a key and a counter, in any order, on every machine. Reference: Salmon, Moraes, Dror, Shaw,
/// "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
/// </summary>
internal static class Philox
{
    private const int Rounds = 10;

    /// <summary>Four words of 32 bits for a counter of four words and a key of two.</summary>
    public static (uint X0, uint X1, uint X2, uint X3) Block((uint X0, uint X1, uint X2, uint X3) counter, (uint K0, uint K1) key)
    {
        var ((x0, x1, x2, x3), (k0, k1)) = (counter, key);
        for (var round = 0; round < Rounds; round++)
        {
            var (first, second) = (0xD2511F53UL * x0, 0xCD9E8D57UL * x2);
            (x0, x1, x2, x3) = ((uint)(second >> 32) ^ x1 ^ k0, (uint)second, (uint)(first >> 32) ^ x3 ^ k1, (uint)first);
            unchecked
            {
                (k0, k1) = (k0 + 0x9E3779B9, k1 + 0xBB67AE85);
            }
        }

        return (x0, x1, x2, x3);
    }
}
