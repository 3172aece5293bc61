namespace Influence.Numerics;

/// <summary>
/// Random numbers that follow from (seed, purpose, index) alone, on every machine and in every process, unchanged by what else
/// is drawn. Two methods that draw for the same purpose draw the same, which makes their comparison a paired one. Derives from
/// <see cref="Random"/> so that Math.NET's distributions can draw from it.
/// </summary>
internal sealed class KeyedRandom(long seed, string purpose, long index = 0) : Random
{
    internal const ulong Increment = 0x9E3779B97F4A7C15;
    private readonly ulong _key = Mix(Key(seed, purpose) ^ (ulong)index);
    private ulong _counter;

    /// <summary>SplitMix64's finaliser: every input bit reaches every output bit. All that is random in the library comes of it.</summary>
    public static ulong Mix(ulong z)
    {
        z += Increment;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>Random bits as a number in [0, 1).</summary>
    public static double Unit(ulong bits) => (bits >> 11) * (1.0 / (1UL << 53));

    /// <summary>The ids in an order that the key decides, whatever the order in which they come.</summary>
    public static IOrderedEnumerable<T> Shuffled<T>(IEnumerable<T> things, ulong key, Func<T, long> id) =>
        things.OrderBy(thing => Mix(key ^ Mix((ulong)id(thing))));

    /// <summary>FNV-1a of the purpose, stirred with the seed.</summary>
    public static ulong Key(long seed, string purpose)
    {
        var hash = 14695981039346656037UL;
        foreach (var letter in purpose)
        {
            hash = (hash ^ letter) * 1099511628211UL;
        }

        return Mix(hash ^ Mix((ulong)seed));
    }

    /// <summary>A number for an id, the same whatever the order in which ids come.</summary>
    public ulong Of(long id) => Mix(_key ^ Mix((ulong)id));

    /// <summary>A whole number in [0, limit).</summary>
    public int Below(int limit) => (int)Math.BigMul(Bits(), (ulong)limit, out _);

    /// <summary>How often each of n things is drawn when n are drawn with replacement.</summary>
    public int[] Counts(int n)
    {
        var counts = new int[n];
        for (var i = 0; i < n; i++)
        {
            counts[Below(n)]++;
        }

        return counts;
    }

    /// <summary>An order of 0 to n - 1.</summary>
    public int[] Order(int n)
    {
        var order = Enumerable.Range(0, n).ToArray();
        for (var i = n - 1; i > 0; i--)
        {
            var j = Below(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }

        return order;
    }

    public override double NextDouble() => Unit(Bits());

    public override int Next() => Below(int.MaxValue);

    public override int Next(int maxValue) => Below(maxValue);

    public override int Next(int minValue, int maxValue) => minValue + (int)Math.BigMul(Bits(), (ulong)((long)maxValue - minValue), out _);

    protected override double Sample() => NextDouble();

    private ulong Bits() => Mix(_key + (_counter++ * Increment));
}
