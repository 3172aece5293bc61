namespace Influence.Numerics;

/// <summary>
/// A total shared out in proportion to weights, where nobody can take more than a cap: x_i = min(cap_i, c w_i), with the one c
/// for which the x_i sum to the total (or all are at their caps).
/// </summary>
internal static class CappedShares
{
    /// <summary>The shares.</summary>
    /// <param name="weights">Not negative; zero gets nothing.</param>
    /// <param name="caps">Above zero where the weight is.</param>
    /// <param name="total">Not negative.</param>
    public static double[] Of(IReadOnlyList<double> weights, IReadOnlyList<double> caps, double total)
    {
        // Whoever reaches the cap first as c grows is settled first; then c is that of the rest.
        var order = Enumerable.Range(0, weights.Count).Where(i => weights[i] > 0).OrderBy(i => caps[i] / weights[i]).ToArray();
        // From the end, so that what is left is a sum of what is left and not a difference of large numbers.
        var weightFrom = new double[order.Length + 1];
        for (var i = order.Length - 1; i >= 0; i--)
        {
            weightFrom[i] = weightFrom[i + 1] + weights[order[i]];
        }

        var shares = new double[weights.Count];
        var left = total;
        for (var i = 0; i < order.Length; i++)
        {
            var fair = left / weightFrom[i] * weights[order[i]];
            if (fair < caps[order[i]])
            {
                var c = left / weightFrom[i];
                foreach (var j in order.AsSpan(i))
                {
                    shares[j] = c * weights[j];
                }

                break;
            }

            shares[order[i]] = caps[order[i]];
            left = Math.Max(0, left - caps[order[i]]);
        }

        return shares;
    }

    /// <summary>Whole numbers that sum to the rounded sum: each share's whole part, then one more where the rest is largest (ties to the
    /// first).</summary>
    /// <param name="shares">Not negative.</param>
    /// <param name="caps">Whole numbers, at least the shares.</param>
    public static long[] LargestRemainder(IReadOnlyList<double> shares, IReadOnlyList<long> caps)
    {
        var whole = shares.Select((share, i) => Math.Min((long)Math.Floor(share + 1e-9), caps[i])).ToArray();
        var left = (long)Math.Round(shares.Sum()) - whole.Sum();
        foreach (var i in Enumerable.Range(0, whole.Length).OrderByDescending(i => shares[i] - whole[i]))
        {
            if (left <= 0)
            {
                break;
            }

            if (whole[i] < caps[i] && shares[i] > 0)
            {
                whole[i]++;
                left--;
            }
        }

        return whole;
    }
}
