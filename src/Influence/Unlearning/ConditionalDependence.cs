namespace Influence.Unlearning;

/// <summary>
/// How much of Y is a function of Z where X is known: 0 for none of it, 1 for all. From n draws, with R the ranks of Y, N(i) the nearest
/// neighbour of i in X and M(i) that in (X, Z),
/// <code>T(Y, Z | X) = sum_i (min(R_i, R_M(i)) - min(R_i, R_N(i))) / sum_i (R_i - min(R_i, R_N(i)))</code>
/// and without X, with L_i the number of draws of at least Y_i,
/// <code>T(Y, Z) = sum_i (n min(R_i, R_M(i)) - L_i^2) / sum_i L_i (n - L_i)</code>
/// </summary>
/// <remarks>Azadkia and Chatterjee, Annals of Statistics 2021. O(n^2) here; ties go to the first.</remarks>
internal static class ConditionalDependence
{
    /// <param name="y">n values.</param>
    /// <param name="z">n values.</param>
    /// <param name="x">Columns of n values; none: without a condition.</param>
    public static double Of(IReadOnlyList<double> y, IReadOnlyList<double> z, params IReadOnlyList<IReadOnlyList<double>> x)
    {
        var n = y.Count;
        var distances = Squares(n, x);
        return Of(RanksOf(y), distances, z, x.Count == 0);
    }

    /// <param name="ranks">For each draw how many are at most it.</param>
    /// <param name="distances">Squared distances in X, <c>[n, n]</c>.</param>
    /// <param name="z">n values.</param>
    /// <param name="unconditional">Whether X is nothing.</param>
    public static double Of(int[] ranks, double[,] distances, IReadOnlyList<double> z, bool unconditional)
    {
        var n = ranks.Length;
        var (above, below) = (0.0, 0.0);
        for (var i = 0; i < n; i++)
        {
            var (joint, own) = Nearest(distances, z, i);
            double withZ = Math.Min(ranks[i], ranks[joint]),
                without = Math.Min(ranks[i], ranks[own]);
            double least = 0;
            if (unconditional)
            {
                for (var j = 0; j < n; j++)
                {
                    least += ranks[j] >= ranks[i] ? 1 : 0;
                }
            }

            above += unconditional ? (n * withZ) - (least * least) : withZ - without;
            below += unconditional ? least * (n - least) : ranks[i] - without;
        }

        return below == 0 ? 0 : above / below;
    }

    /// <summary>For each value how many are at most it.</summary>
    public static int[] RanksOf(IReadOnlyList<double> y) => [.. y.Select(value => y.Count(other => other <= value))];

    /// <summary>Squared distances over columns, <c>[n, n]</c>.</summary>
    public static double[,] Squares(int n, IReadOnlyList<IReadOnlyList<double>> columns)
    {
        var distances = new double[n, n];
        foreach (var column in columns)
        {
            Add(distances, column);
        }

        return distances;
    }

    /// <summary>Adds a column's squared distances.</summary>
    public static void Add(double[,] distances, IReadOnlyList<double> column)
    {
        for (var i = 0; i < column.Count; i++)
        {
            for (var j = 0; j < column.Count; j++)
            {
                distances[i, j] += (column[i] - column[j]) * (column[i] - column[j]);
            }
        }
    }

    private static (int Joint, int Own) Nearest(double[,] distances, IReadOnlyList<double> z, int i)
    {
        var (joint, own, jointAt, ownAt) = (double.PositiveInfinity, double.PositiveInfinity, -1, -1);
        for (var j = 0; j < z.Count; j++)
        {
            if (j == i)
            {
                continue;
            }

            var here = distances[i, j];
            if (here < own)
            {
                (own, ownAt) = (here, j);
            }

            here += (z[i] - z[j]) * (z[i] - z[j]);
            if (here < joint)
            {
                (joint, jointAt) = (here, j);
            }
        }

        return (jointAt, ownAt);
    }
}
