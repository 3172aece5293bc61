using System.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// The lasso along falling penalties, each fit starting from the one before:
/// <c>w_j = soft(m_j' r / M + w_j |m_j|^2 / M, penalty) / (|m_j|^2 / M)</c>, one weight after another, until none moves.
/// </summary>
/// <remarks>Friedman et al., 2010. Between two passes over all weights only those that are not zero are moved.</remarks>
internal static class LassoPath
{
    private const int MaximumPasses = 2000;

    /// <summary>A weight has settled when moving it changes the fit by less than this share of the rewards' spread.</summary>
    private const double Settled = 1e-7;

    /// <summary>A fit at one penalty.</summary>
    /// <param name="Share">The penalty over the largest.</param>
    /// <param name="Weights">N weights.</param>
    /// <param name="Intercept">The reward of a model trained on nothing, as the line has it.</param>
    internal sealed record Step(double Share, double[] Weights, double Intercept)
    {
        public double Predict(TrainingSubset subset)
        {
            var sum = Intercept;
            for (var i = 0; i < Weights.Length; i++)
            {
                sum += subset.Contains(i) ? Weights[i] : 0;
            }

            return sum;
        }
    }

    /// <summary>Fits, largest penalty first.</summary>
    public static IEnumerable<Step> Fit(MaskColumns masks, double[] rewards, IReadOnlyList<double> shares)
    {
        var (n, m, mean) = (masks.Columns.Length, masks.Rows, rewards.Average());
        double[] residual = [.. rewards.Select(y => y - mean)];
        var weights = new double[n];
        double[] squares = [.. masks.Columns.Select(c => Dot(c, c) / m)];
        var largest = masks.Columns.Max(c => Math.Abs(Dot(c, residual))) / m;
        var tolerance = Settled * Math.Sqrt(Dot(residual, residual) / m);
        int[] all = [.. Enumerable.Range(0, n)];
        foreach (var share in shares)
        {
            for (var pass = 0; pass < MaximumPasses && Move(all, share * largest) > tolerance; pass++)
            {
                int[] active = [.. all.Where(j => weights[j] != 0)];
                for (; pass < MaximumPasses && Move(active, share * largest) > tolerance; pass++) { }
            }

            yield return new Step(share, [.. weights], mean - Dot(weights, masks.Means));
        }

        double Move(int[] positions, double penalty)
        {
            var moved = 0.0;
            foreach (var j in positions)
            {
                // An example that is in every subset, or in none, cannot be told from the intercept.
                if (squares[j] <= 1e-12)
                {
                    continue;
                }

                var free = (Dot(masks.Columns[j], residual) / m) + (weights[j] * squares[j]);
                var next = Math.Sign(free) * Math.Max(0, Math.Abs(free) - penalty) / squares[j];
                var change = next - weights[j];
                if (change != 0)
                {
                    weights[j] = next;
                    var column = masks.Columns[j];
                    for (var i = 0; i < m; i++)
                    {
                        residual[i] -= change * column[i];
                    }

                    moved = Math.Max(moved, Math.Abs(change) * Math.Sqrt(squares[j]));
                }
            }

            return moved;
        }
    }

    private static double Dot(double[] a, double[] b)
    {
        var sums = Vector<double>.Zero;
        var i = 0;
        for (; i + Vector<double>.Count <= a.Length; i += Vector<double>.Count)
        {
            sums += new Vector<double>(a, i) * new Vector<double>(b, i);
        }

        var sum = Vector.Sum(sums);
        for (; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
