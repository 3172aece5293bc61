using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>Spearman's rank correlation; ties get the average of their ranks.</summary>
internal static class Spearman
{
    /// <summary>Pearson's correlation of the ranks.</summary>
    public static double Of(IReadOnlyList<double> a, IReadOnlyList<double> b)
    {
        var (x, y) = (Ranks(a), Ranks(b));
        var (meanX, meanY) = (x.Average(), y.Average());
        var covariance = x.Zip(y, (u, v) => (u - meanX) * (v - meanY)).Sum();
        return covariance / Math.Sqrt(x.Sum(u => (u - meanX) * (u - meanX)) * y.Sum(v => (v - meanY) * (v - meanY)));
    }

    /// <summary>The lowest correlation over the rows of two matrices.</summary>
    public static double WorstRow(Tensor a, Tensor b)
    {
        using var scope = NewDisposeScope();
        return Enumerable.Range(0, (int)a.shape[0]).Min(row => Of(Row(a, row), Row(b, row)));
    }

    /// <summary>Ranks from 1.</summary>
    public static double[] Ranks(IReadOnlyList<double> values)
    {
        var order = Enumerable.Range(0, values.Count).OrderBy(i => values[i]).ToArray();
        var ranks = new double[values.Count];
        for (var start = 0; start < order.Length; )
        {
            var end = start;
            while (end < order.Length && values[order[end]] == values[order[start]])
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

    private static double[] Row(Tensor matrix, int row) =>
        matrix.select(0, row).to_type(ScalarType.Float64).contiguous().data<double>().ToArray();
}
