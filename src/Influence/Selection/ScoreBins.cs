namespace Influence.Selection;

/// <summary>
/// A total shared out over bins, the smallest first: each gets what is left over the number of bins that are left, rounded
/// down, and no more than it has. What small bins leave goes to the larger ones.
/// </summary>
internal static class ScoreBins
{
    /// <summary>The bin of each value, of <paramref name="count"/> bins of equal width from the lowest value to the highest.</summary>
    public static int[] Of(IReadOnlyList<double> values, int count)
    {
        var (lowest, highest) = (values.Min(), values.Max());

        // The range is taken in halves: the difference of two finite numbers may be infinite.
        var range = (highest / 2) - (lowest / 2);
        return [.. values.Select(value => range > 0 ? Math.Min(count - 1, (int)(((value / 2) - (lowest / 2)) / range * count)) : 0)];
    }

    /// <summary>Bins in the order in which they are served: the smallest first, ties to the lower bin.</summary>
    public static int[] Order(IReadOnlyList<long> sizes) => [.. Enumerable.Range(0, sizes.Count).Where(b => sizes[b] > 0).OrderBy(b => sizes[b])];

    /// <summary>What each bin gets.</summary>
    /// <param name="sizes">What each bin has.</param>
    /// <param name="total">What is shared out.</param>
    public static long[] Quotas(IReadOnlyList<long> sizes, long total)
    {
        var quotas = new long[sizes.Count];
        var order = Order(sizes);
        for (var served = 0; served < order.Length; served++)
        {
            quotas[order[served]] = Math.Min(sizes[order[served]], total / (order.Length - served));
            total -= quotas[order[served]];
        }

        return quotas;
    }
}
