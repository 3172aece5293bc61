namespace Influence.Evaluation;

/// <summary>What two columns of numbers are compared by.</summary>
internal enum Agreement
{
    /// <summary>Spearman's rank correlation; ties share their mean rank.</summary>
    Spearman,

    /// <summary>Pearson's correlation.</summary>
    Pearson,

    /// <summary>The slope of the least squares line of y over x.</summary>
    Slope,
}

/// <summary>
/// Two columns of one length, compared again and again with rows that count more than once or not at all. Sorting is done
/// once: a resampled rank correlation then costs one pass.
/// </summary>
internal sealed class PairedColumn
{
    private readonly double[] _x;
    private readonly double[] _y;
    private readonly int[] _orderX;
    private readonly int[] _orderY;

    public PairedColumn(double[] x, double[] y)
    {
        (_x, _y) = (x, y);
        (_orderX, _orderY) = (OrderOf(x), OrderOf(y));
    }

    public int Count => _x.Length;

    /// <summary>The agreement; NaN where a column is constant.</summary>
    /// <param name="agreement">By what.</param>
    /// <param name="counts">How often each row counts; null for once.</param>
    public double Of(Agreement agreement, int[]? counts = null) => agreement == Agreement.Spearman
        ? Moments(Ranks(_x, _orderX, counts), Ranks(_y, _orderY, counts), counts, slope: false)
        : Moments(_x, _y, counts, agreement == Agreement.Slope);

    /// <summary>Positions by value, lowest first; equal values by position.</summary>
    public static int[] OrderOf(double[] values)
    {
        var order = Enumerable.Range(0, values.Length).ToArray();
        Array.Sort((double[])values.Clone(), order);
        return order;
    }

    /// <summary>Mean ranks from 1, when row i is there counts[i] times.</summary>
    public static double[] Ranks(double[] values, int[] order, int[]? counts)
    {
        var ranks = new double[values.Length];
        var below = 0;
        for (var start = 0; start < order.Length;)
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

    private static double Moments(double[] x, double[] y, int[]? counts, bool slope)
    {
        var (n, meanX, meanY) = (0.0, 0.0, 0.0);
        for (var i = 0; i < x.Length; i++)
        {
            var count = counts?[i] ?? 1;
            (n, meanX, meanY) = (n + count, meanX + (count * x[i]), meanY + (count * y[i]));
        }

        (meanX, meanY) = (meanX / n, meanY / n);
        var (xx, yy, xy) = (0.0, 0.0, 0.0);
        for (var i = 0; i < x.Length; i++)
        {
            var count = counts?[i] ?? 1;
            var (dx, dy) = (x[i] - meanX, y[i] - meanY);
            (xx, yy, xy) = (xx + (count * dx * dx), yy + (count * dy * dy), xy + (count * dx * dy));
        }

        // Equal numbers have a mean that may be off by rounding: a spread of that size is none.
        return IsNone(xx, meanX, n) || IsNone(yy, meanY, n) ? double.NaN
            : slope ? xy / xx
            : Math.Clamp(xy / Math.Sqrt(xx * yy), -1, 1);
    }

    private static bool IsNone(double squares, double mean, double n) => !(squares > n * mean * mean * 1e-28);
}
