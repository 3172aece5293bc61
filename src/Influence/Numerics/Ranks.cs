namespace Influence.Numerics;

/// <summary>Ranks of numbers, for rank correlations and scores without a scale.</summary>
internal static class Ranks
{
    /// <summary>From 1 for the lowest; ties share the mean of their ranks.</summary>
    public static double[] Of(double[] values) => Of(values, Order(values), null);

    /// <summary>Mean ranks from 1, when number i is there counts[i] times.</summary>
    /// <param name="values">The numbers.</param>
    /// <param name="order">Their <see cref="Order"/>.</param>
    /// <param name="counts">How often each counts; null for once.</param>
    public static double[] Of(double[] values, int[] order, int[]? counts)
    {
        var ranks = new double[values.Length];
        var below = 0;
        for (var start = 0; start < order.Length; )
        {
            var (end, here) = (start, 0);
            while (end < order.Length && values[order[end]].Equals(values[order[start]]))
            {
                here += counts is null ? 1 : counts[order[end]];
                end++;
            }

            for (var i = start; i < end; i++)
            {
                ranks[order[i]] = below + ((here + 1) / 2.0);
            }

            (below, start) = (below + here, end);
        }

        return ranks;
    }

    /// <summary>Positions by value, lowest first; equal values by position.</summary>
    public static int[] Order(double[] values)
    {
        var order = Enumerable.Range(0, values.Length).ToArray();
        Array.Sort((double[])values.Clone(), order);
        return order;
    }

    /// <summary>Spearman's correlation: Pearson's of the ranks. NaN where all numbers of one side are equal.</summary>
    public static double Spearman(double[] a, double[] b)
    {
        var (x, y) = (Of(a), Of(b));
        var mean = (a.Length + 1) / 2.0;
        double xy = 0,
            xx = 0,
            yy = 0;
        for (var i = 0; i < x.Length; i++)
        {
            xy += (x[i] - mean) * (y[i] - mean);
            xx += (x[i] - mean) * (x[i] - mean);
            yy += (y[i] - mean) * (y[i] - mean);
        }

        return xx > 0 && yy > 0 ? xy / Math.Sqrt(xx * yy) : double.NaN;
    }
}
