namespace Influence.Selection;

/// <summary>Draws of positions.</summary>
internal static class Sampling
{
    /// <summary>Different positions below <paramref name="count"/>, ascending; every set is equally likely.</summary>
    public static int[] Without(Random random, int count, int size)
    {
        var drawn = new HashSet<int>(size);
        // Floyd's: the last one is taken where a draw was taken before.
        for (var last = count - size; last < count; last++)
        {
            var position = random.Next(last + 1);
            if (!drawn.Add(position))
            {
                drawn.Add(last);
            }
        }

        int[] positions = [.. drawn];
        Array.Sort(positions);
        return positions;
    }
}
