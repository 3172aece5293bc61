namespace Influence.Numerics;

/// <summary>Ranks of numbers, for rank correlations and scores without a scale.</summary>
internal static class AverageRanks
{
    /// <summary>From 1 for the lowest; ties share the mean of their ranks.</summary>
    public static double[] Of(double[] values)
    {
        var order = Enumerable.Range(0, values.Length).ToArray();
        var keys = (double[])values.Clone();
        Array.Sort(keys, order);
        var ranks = new double[values.Length];
        for (var start = 0; start < keys.Length;)
        {
            var end = start + 1;
            while (end < keys.Length && keys[end] == keys[start])
            {
                end++;
            }

            for (var i = start; i < end; i++)
            {
                ranks[order[i]] = (start + end + 1) / 2.0;
            }

            start = end;
        }

        return ranks;
    }
}
