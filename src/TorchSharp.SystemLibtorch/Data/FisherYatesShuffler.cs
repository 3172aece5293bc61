using System.Collections;

namespace TorchSharp.Utils;

/// <summary>The numbers from 0 up to a size in random order: a new one at each enumeration, or the seed's.</summary>
public class FisherYatesShuffler : IEnumerable<long>
{
    private readonly long _size;
    private readonly int? _seed;

    public FisherYatesShuffler(long size, int? seed = null)
    {
        _size = size;
        _seed = seed;
    }

    public IEnumerator<long> GetEnumerator() => ((IEnumerable<long>)Shuffled()).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>
    /// Inside-out shuffle; two draws make one 63-bit number, so that a seed gives TorchSharp's order.
    /// </summary>
    private long[] Shuffled()
    {
        var random = _seed is { } seed ? new Random(seed) : new Random();
        var order = new long[_size];
        for (long i = 0; i < order.LongLength; i++)
        {
            var wide = ((long)random.Next() << 32) + random.Next();
            var place = wide % (i + 1);
            order[i] = order[place];
            order[place] = i;
        }

        return order;
    }
}
