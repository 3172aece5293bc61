namespace Influence.Numerics;

/// <summary>Small helpers for points of the simplex: weights that are not negative and sum to 1.</summary>
internal static class Simplex
{
    /// <summary>exp(x) / sum exp(x); minus infinity gives 0.</summary>
    public static double[] Softmax(IReadOnlyList<double> logits)
    {
        var largest = logits.Max();
        return Normalized([.. logits.Select(x => Math.Exp(x - largest))]);
    }

    /// <summary>The weights over their sum, which is more than 0.</summary>
    public static double[] Normalized(IReadOnlyList<double> weights)
    {
        var sum = weights.Sum();
        return [.. weights.Select(w => w / sum)];
    }

    /// <summary>The mean of some points.</summary>
    public static double[] Mean(IReadOnlyList<IReadOnlyList<double>> points)
    {
        var mean = new double[points[0].Count];
        foreach (var point in points)
        {
            for (var j = 0; j < mean.Length; j++)
            {
                mean[j] += point[j];
            }
        }

        return Normalized(mean);
    }

    /// <summary>p_j exp(x_j) / Z: one multiplicative-weights step.</summary>
    public static double[] Tilted(IReadOnlyList<double> weights, IReadOnlyList<double> exponents) =>
        Softmax([.. weights.Select((w, j) => Math.Log(w) + exponents[j])]);

    /// <summary>count numbers from first to last, evenly spaced in the logarithm.</summary>
    public static double[] LogSpaced(double first, double last, int count) =>
        [.. Enumerable.Range(0, count).Select(i => count == 1 ? last : first * Math.Pow(last / first, i / (count - 1.0)))];
}
