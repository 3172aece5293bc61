using Influence.Numerics;
using MathNet.Numerics.Statistics;

namespace Influence.Evaluation;

/// <summary>
/// Percentile intervals by the bootstrap (Efron, 1979): the data are drawn again with replacement, the value is computed
/// anew, and the interval holds the middle of what comes out.
/// </summary>
public sealed record Bootstrap
{
    /// <summary>How often the data are drawn again; 0 for no interval.</summary>
    /// <value>1,000.</value>
    public int Resamples
    {
        get;
        init => field = Check.AtLeast(value, 0);
    } = 1000;

    /// <summary>The share of the resampled values inside the interval.</summary>
    /// <value>0.95.</value>
    public double Level
    {
        get;
        init => field = Check.InsideUnit(value);
    } = 0.95;

    /// <summary>Of the draws: the same seed gives the same interval, and pairs the draws of methods that are compared.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>The value's interval from its resampled values; those that are not defined (a constant draw) do not count.</summary>
    internal Estimate Interval(double value, IEnumerable<double> resampled)
    {
        double[] sorted = [.. resampled.Where(v => !double.IsNaN(v)).Order()];
        return sorted.Length == 0
            ? new Estimate(value, double.NaN, double.NaN)
            : new Estimate(
                value,
                SortedArrayStatistics.Quantile(sorted, (1 - Level) / 2),
                SortedArrayStatistics.Quantile(sorted, (1 + Level) / 2)
            );
    }

    /// <summary>The interval of a value that can be computed from a generator's draw.</summary>
    internal Estimate Of(string purpose, double value, Func<KeyedRandom, double> resample) =>
        Interval(value, Enumerable.Range(0, Resamples).Select(r => resample(new KeyedRandom(Seed, purpose, r))));

    /// <summary>The mean of values that are drawn again; NaN for none.</summary>
    internal Estimate Mean(string purpose, IReadOnlyList<double> values) =>
        values.Count == 0
            ? new Estimate(double.NaN, double.NaN, double.NaN)
            : Of(purpose, values.Average(), random => WeightedMean(values, random.Counts(values.Count)));

    /// <summary>The mean of values, each as often as it was drawn; values that are not defined do not count.</summary>
    internal static double WeightedMean(IReadOnlyList<double> values, int[] counts)
    {
        var (sum, total) = (0.0, 0);
        for (var i = 0; i < counts.Length; i++)
        {
            if (counts[i] > 0 && !double.IsNaN(values[i]))
            {
                sum += counts[i] * values[i];
                total += counts[i];
            }
        }

        return total == 0 ? double.NaN : sum / total;
    }
}
