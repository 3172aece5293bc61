using Influence.Numerics;

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
        (_orderX, _orderY) = (Ranks.Order(x), Ranks.Order(y));
    }

    public int Count => _x.Length;

    public IReadOnlyList<double> X => _x;

    public IReadOnlyList<double> Y => _y;

    /// <summary>The agreement; NaN where a column is constant.</summary>
    /// <param name="agreement">By what.</param>
    /// <param name="counts">How often each row counts; null for once.</param>
    public double Of(Agreement agreement, int[]? counts = null) =>
        agreement == Agreement.Spearman
            ? Moments(Ranks.Of(_x, _orderX, counts), Ranks.Of(_y, _orderY, counts), counts, slope: false)
            : Moments(_x, _y, counts, agreement == Agreement.Slope);

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
