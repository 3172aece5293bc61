namespace Influence.Quality.Training;

/// <summary>
/// The order of the examples in an epoch. An example's place follows from seed, epoch and id alone, so that what is left
/// out changes nothing about the order of the rest.
/// </summary>
internal static class BatchOrder
{
    /// <summary>Full batches of the examples given; the last may be smaller.</summary>
    public static IEnumerable<long[]> Batches(IEnumerable<long> ids, long seed, int epoch, int size) =>
        ids.OrderBy(id => Key(seed, epoch, id)).Chunk(size);

    /// <summary>
    /// The batches of all examples, each without those that are left out: with and without an example, training differs in
    /// that example and nothing else. With each, how many examples the whole batch has.
    /// </summary>
    public static IEnumerable<(long[] Ids, int Full)> WithHoles(
        IEnumerable<long> all,
        IReadOnlySet<long> kept,
        long seed,
        int epoch,
        int size
    ) =>
        Batches(all, seed, epoch, size)
            .Select(batch => (Ids: batch.Where(kept.Contains).ToArray(), Full: batch.Length))
            .Where(batch => batch.Ids.Length > 0);

    private static ulong Key(long seed, int epoch, long id) => Mix(Mix(Mix((ulong)seed) ^ (ulong)epoch) ^ (ulong)id);

    private static ulong Mix(ulong z)
    {
        z += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
