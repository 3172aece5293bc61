namespace Influence.Selection;

/// <summary>Bins of equal width over the range of the scores, and the order in which they are served.</summary>
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
    public static int[] Order(IReadOnlyList<long> sizes) =>
        [.. Enumerable.Range(0, sizes.Count).Where(b => sizes[b] > 0).OrderBy(b => sizes[b])];
}
