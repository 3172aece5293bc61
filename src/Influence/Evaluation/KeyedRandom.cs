namespace Influence.Evaluation;

/// <summary>
/// Random numbers that follow from (seed, purpose, index) alone, on every machine and in every process. Two methods that draw
/// for the same purpose draw the same, which makes their comparison a paired one.
/// </summary>
internal sealed class KeyedRandom(long seed, string purpose, long index = 0)
{
    private readonly ulong _key = Key(seed, purpose, index);
    private ulong _counter;

    /// <summary>64 random bits.</summary>
    public ulong Next() => LabelSampler.Mix(_key + (_counter++ * 0x9E3779B97F4A7C15));

    /// <summary>A whole number in [0, limit).</summary>
    public int Below(int limit) => (int)Math.BigMul(Next(), (ulong)limit, out _);

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

    /// <summary>A number for an id, the same whatever the order in which ids come.</summary>
    public ulong Of(long id) => LabelSampler.Mix(_key ^ LabelSampler.Mix((ulong)id));

    /// <summary>FNV-1a of the purpose, stirred with seed and index.</summary>
    private static ulong Key(long seed, string purpose, long index)
    {
        var hash = 14695981039346656037UL;
        foreach (var letter in purpose)
        {
            hash = (hash ^ letter) * 1099511628211UL;
        }

        return LabelSampler.Mix(LabelSampler.Mix(hash ^ LabelSampler.Mix((ulong)seed)) ^ (ulong)index);
    }
}
