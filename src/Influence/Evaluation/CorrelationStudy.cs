using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// Agreement column by column (a column is a query, a row is a subset), its mean over columns, and intervals: each resample
/// draws rows, the same for all columns, and then columns.
/// </summary>
internal sealed class CorrelationStudy
{
    private readonly double[][] _resampled;

    public CorrelationStudy(IReadOnlyList<PairedColumn> columns, Agreement agreement, Bootstrap bootstrap)
    {
        Values = [.. columns.Select(c => c.Of(agreement))];
        var rows = columns.Count == 0 ? 0 : columns[0].Count;
        _resampled = new double[bootstrap.Resamples][];
        ResampledMeans = new double[bootstrap.Resamples];
        ResampledQueryMeans = new double[bootstrap.Resamples];

        // Each resample follows from its number alone, so the order in which they are done changes nothing.
        Parallel.For(
            0,
            bootstrap.Resamples,
            r =>
            {
                // The purposes hold no name of a method or metric: methods that are compared draw the same rows and columns.
                var rowCounts = new KeyedRandom(bootstrap.Seed, "subsets", r).Counts(rows);
                var columnCounts = new KeyedRandom(bootstrap.Seed, "queries", r).Counts(columns.Count);
                _resampled[r] = [.. columns.Select(c => c.Of(agreement, rowCounts))];
                ResampledMeans[r] = Bootstrap.WeightedMean(_resampled[r], columnCounts);
                ResampledQueryMeans[r] = Bootstrap.WeightedMean(Values, columnCounts);
            }
        );
    }

    /// <summary>Column by column.</summary>
    public IReadOnlyList<double> Values { get; }

    /// <summary>The mean over columns.</summary>
    public double Mean => Values.Count == 0 ? double.NaN : Values.Average();

    /// <summary>The mean in each resample of rows and columns.</summary>
    public double[] ResampledMeans { get; }

    /// <summary>The mean in each resample of columns, with the rows as they are.</summary>
    public double[] ResampledQueryMeans { get; }

    /// <summary>A column's value, with the interval over resampled rows.</summary>
    public Estimate Column(int column, Bootstrap bootstrap) =>
        bootstrap.Interval(Values[column], _resampled.Select(values => values[column]));
}
