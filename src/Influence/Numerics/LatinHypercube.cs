namespace Influence.Numerics;

/// <summary>
/// Latin hypercube sampling: n points in a box such that each of n equal slices of every axis holds exactly one of them, so
/// that few points cover every axis evenly.
/// </summary>
/// <remarks>Reference: McKay, Beckman and Conover, A Comparison of Three Methods for Selecting Values of Input Variables (1979).</remarks>
internal static class LatinHypercube
{
    /// <summary>Draws points.</summary>
    /// <param name="lower">The box's lower corner.</param>
    /// <param name="upper">Its upper corner.</param>
    /// <param name="count">How many.</param>
    /// <param name="seed">Decides every draw.</param>
    /// <returns><c>count</c> points, each of the box's dimension.</returns>
    /// <exception cref="InfluenceException">Corners of unlike length or not in order, or a count below 1.</exception>
    public static double[][] Sample(IReadOnlyList<double> lower, IReadOnlyList<double> upper, int count, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(lower);
        ArgumentNullException.ThrowIfNull(upper);
        if (
            count < 1
            || lower.Count != upper.Count
            || !lower.Zip(upper).All(c => c.First <= c.Second && double.IsFinite(c.Second - c.First))
        )
        {
            throw new InfluenceException(
                $"A Latin hypercube wants at least one point and two finite corners of a box, lower <= upper; found {count} points, "
                    + $"corners [{string.Join(", ", lower)}] and [{string.Join(", ", upper)}]."
            );
        }

        var points = Enumerable.Range(0, count).Select(_ => new double[lower.Count]).ToArray();
        for (var axis = 0; axis < lower.Count; axis++)
        {
            var random = new KeyedRandom(seed, "Latin hypercube", axis);
            var slices = random.Order(count);
            for (var i = 0; i < count; i++)
            {
                points[i][axis] = lower[axis] + ((upper[axis] - lower[axis]) * (slices[i] + random.NextDouble()) / count);
            }
        }

        return points;
    }
}
