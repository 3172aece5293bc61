using System.Collections;
using Influence.Numerics;

namespace Influence.Selection;

/// <summary>
/// Indices into a data set, one pass after the other, for a <c>DataLoader</c>: <c>DataLoader(data, 64, shuffler: sampler)</c>.
/// Each pass of the loader asks for one enumeration, and each enumeration is the next pass; all follows from the seed.
/// </summary>
/// <remarks>
/// TorchSharp's <c>loader.Count</c> counts the data set, not the sampler: where a sampler draws from a part of the data, use
/// <see cref="Count"/>. A loader whose passes differ cannot be scored by id; score with <c>shuffle: false</c>.
/// </remarks>
internal sealed class ExampleSampler : IReadOnlyCollection<long>
{
    private readonly Func<int, IEnumerable<long>> _pass;
    private int _passes = -1;

    public ExampleSampler(int count, Func<int, IEnumerable<long>> pass) => (Count, _pass) = (count, pass);

    /// <summary>The number of indices in the first pass; in every pass unless an <see cref="ExampleOrder"/> says otherwise.</summary>
    public int Count { get; }

    /// <summary>The next pass.</summary>
    /// <returns>Its indices.</returns>
    public IEnumerator<long> GetEnumerator() => _pass(Interlocked.Increment(ref _passes)).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>The same indices at each pass.</summary>
    public static ExampleSampler InOrder(long[] indices) => new(indices.Length, _ => indices);

    /// <summary>All indices at each pass, each time in another order.</summary>
    public static ExampleSampler Shuffled(long[] indices, long seed) =>
        new(
            indices.Length,
            pass =>
            {
                var key = Key(seed, pass);
                return KeyedRandom.Shuffled(Enumerable.Range(0, indices.Length), key, i => i).Select(i => indices[i]);
            }
        );

    /// <summary>Independent draws with replacement, each index in proportion to its weight.</summary>
    public static ExampleSampler Weighted(long[] indices, IReadOnlyList<double> weights, int count, long seed)
    {
        var ends = new double[indices.Length];
        var end = 0.0;
        for (var i = 0; i < ends.Length; i++)
        {
            ends[i] = end += weights[i];
        }

        return new(
            count,
            pass =>
                Enumerable
                    .Range(0, count)
                    .Select(draw =>
                    {
                        var uniform = KeyedRandom.Unit(KeyedRandom.Mix(Key(seed, pass) ^ KeyedRandom.Mix((ulong)draw)));
                        return indices[FirstAbove(ends, uniform * end)];
                    })
        );
    }

    private static ulong Key(long seed, int pass) => KeyedRandom.Mix(KeyedRandom.Mix((ulong)seed) ^ (ulong)pass);

    /// <summary>The first place whose end is above the value: a weight of zero takes no room, so it is never drawn.</summary>
    private static int FirstAbove(double[] ends, double value)
    {
        var (low, high) = (0, ends.Length - 1);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = ends[middle] > value ? (low, middle) : (middle + 1, high);
        }

        return low;
    }
}
