using Xunit;

namespace Influence.Tests.Selection;

/// <summary>Facility location written out, in float64.</summary>
internal static class CoverageReference
{
    public static double[,] Features(int n, int d, int seed)
    {
        var random = new Random(seed);
        var features = new double[n, d];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < d; j++)
            {
                features[i, j] = random.NextDouble() - 0.4;
            }
        }

        return features;
    }

    /// <summary>(1 + cos) / 2.</summary>
    public static double[,] Cosine(double[,] features) =>
        Pairs(features, (a, b) => 0.5 + (a.Zip(b).Sum(p => p.First * p.Second) / 2 / Math.Sqrt(a.Sum(v => v * v) * b.Sum(v => v * v))));

    /// <summary>The largest distance minus the distance.</summary>
    public static double[,] Distance(double[,] features, int p)
    {
        var distances = Distances(features, p);
        var largest = distances.Cast<double>().Max();
        return Pairs(distances.GetLength(0), (i, j) => largest - distances[i, j]);
    }

    public static double[,] Distances(double[,] features, int p) =>
        Pairs(features, (a, b) => Math.Pow(a.Zip(b).Sum(v => Math.Pow(Math.Abs(v.First - v.Second), p)), 1.0 / p));

    public static double Value(double[,] similarities, IEnumerable<int> picks)
    {
        int[] chosen = [.. picks];
        return Enumerable.Range(0, similarities.GetLength(0)).Sum(i => chosen.Max(j => similarities[i, j]));
    }

    /// <summary>
    /// Each pick's gain is the highest, up to a tolerance: two points that are nearest to one another have the same gain, and
    /// rounding tells them apart. Relevance may be added.
    /// </summary>
    public static void AssertGreedy(
        double[,] similarities,
        IReadOnlyList<int> picks,
        double tolerance,
        Func<IReadOnlyList<int>, double>? more = null
    )
    {
        for (var step = 0; step < picks.Count; step++)
        {
            int[] before = [.. picks.Take(step)];
            var best = Enumerable.Range(0, similarities.GetLength(0)).Except(before).Max(i => Total([.. before, i]));
            Assert.InRange(Total([.. before, picks[step]]), best - tolerance, best);
        }

        double Total(int[] chosen) => Value(similarities, chosen) + (more?.Invoke(chosen) ?? 0);
    }

    public static IEnumerable<int[]> Subsets(int n, int size) =>
        Enumerable
            .Range(0, 1 << n)
            .Where(bits => int.PopCount(bits) == size)
            .Select(bits => Enumerable.Range(0, n).Where(i => (bits >> i & 1) == 1).ToArray());

    public static double[,] Pairs(int n, Func<int, int, double> value)
    {
        var pairs = new double[n, n];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < n; j++)
            {
                pairs[i, j] = value(i, j);
            }
        }

        return pairs;
    }

    public static double[] Row(double[,] features, int row) =>
        [.. Enumerable.Range(0, features.GetLength(1)).Select(j => features[row, j])];

    private static double[,] Pairs(double[,] features, Func<double[], double[], double> value) =>
        Pairs(features.GetLength(0), (i, j) => value(Row(features, i), Row(features, j)));
}
