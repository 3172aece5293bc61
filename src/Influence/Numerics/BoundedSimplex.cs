namespace Influence.Numerics;

/// <summary>The point nearest to a target with lower and upper bounds and a given sum: x_j = clip(t_j + nu, lower_j, upper_j).</summary>
/// <remarks>min 1/2 |x - t|^2 with sum x = total. The sum rises with nu, which bisection finds; no solver is needed.</remarks>
internal static class BoundedSimplex
{
    /// <summary>Projects; the bounds must admit the total.</summary>
    public static double[] Project(double[] target, double[] lower, double[] upper, double total)
    {
        if (lower.Sum() > total || upper.Sum() < total)
        {
            throw new ArgumentException($"The bounds sum to {lower.Sum()} and {upper.Sum()}, which does not admit {total}.", nameof(total));
        }

        var (low, high) = (0.0, 0.0);
        for (var j = 0; j < target.Length; j++)
        {
            low = Math.Min(low, lower[j] - target[j]);
            high = Math.Max(high, upper[j] - target[j]);
        }

        for (var middle = (low + high) / 2; middle > low && middle < high; middle = (low + high) / 2)
        {
            (low, high) = At(middle).Sum() < total ? (middle, high) : (low, middle);
        }

        return At(high);

        double[] At(double nu) => [.. target.Select((t, j) => Math.Clamp(t + nu, lower[j], upper[j]))];
    }

    /// <summary>Whole numbers that sum to the rounded sum: each rounded down, and the largest remainders up. Bounds that are whole are
    /// kept.</summary>
    public static long[] LargestRemainder(double[] values)
    {
        // What bisection leaves beside a whole number is no remainder.
        var whole = Array.ConvertAll(values, v => (long)Math.Floor(v + 1e-6));
        var missing = (long)Math.Round(values.Sum()) - whole.Sum();
        foreach (var j in Enumerable.Range(0, values.Length).OrderByDescending(j => values[j] - whole[j]).ThenBy(j => j).Take((int)missing))
        {
            whole[j]++;
        }

        return whole;
    }
}
