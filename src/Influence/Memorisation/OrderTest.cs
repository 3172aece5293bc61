using System.Globalization;
using Influence.Numerics;

namespace Influence.Memorisation;

/// <summary>
/// Whether a model was trained on texts in a known order (the palimpsestic test): what was read last is remembered best, so losses fall
/// with the position in training. The statistic is Spearman's correlation of position and loss, less the loss under a reference model where
/// there is one, and
/// <code>p = (1 + number of random orders with a correlation at most the observed one) / (1 + number of orders)</code>
/// </summary>
/// <remarks>
/// The p-value is exact where training order was drawn at random, whatever the model and the texts; a drift of length or topic along an
/// order that was not drawn looks like training on it, which a reference model that never saw the texts takes off in part. Where the texts
/// are so few that all orders are not more than <see cref="Permutations"/>, each is tried, and p is their share. For one pass over the
/// texts. Reference: Kuditipudi et al., "Blackbox Model Provenance via Palimpsestic Membership Inference", 2025.
/// </remarks>
public sealed record OrderTest
{
    /// <summary>The number of random orders.</summary>
    /// <value>9,999.</value>
    /// <exception cref="InfluenceException">Less than 19.</exception>
    public int Permutations
    {
        get;
        init => field = Check.AtLeast(value, 19);
    } = 9_999;

    /// <summary>Of the random orders.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Tests.</summary>
    /// <param name="positions">Each text's position in training, none twice.</param>
    /// <param name="losses">Each text's loss (per token) under the model.</param>
    /// <param name="reference">The same under a model that never saw the texts; null: none.</param>
    /// <returns>The correlation and its one-sided p-value.</returns>
    /// <exception cref="InfluenceException">Fewer than three texts, lists of other lengths, positions that repeat, losses that are not
    /// finite, or that are all equal.</exception>
    public Result Test(IReadOnlyList<long> positions, IReadOnlyList<double> losses, IReadOnlyList<double>? reference = null)
    {
        ArgumentNullException.ThrowIfNull(positions);
        ArgumentNullException.ThrowIfNull(losses);
        if (
            positions.Count < 3
            || losses.Count != positions.Count
            || (reference is not null && reference.Count != positions.Count)
            || positions.Distinct().Count() != positions.Count
        )
        {
            throw new InfluenceException(
                $"At least three texts are expected, with a position of its own and a loss each; found {positions.Count} positions "
                    + $"({positions.Distinct().Count()} different), {losses.Count} losses"
                    + (reference is null ? "." : $" and {reference.Count} of the reference.")
            );
        }

        double[] values = [.. losses.Select((loss, i) => loss - (reference?[i] ?? 0))];
        if (values.Any(value => !double.IsFinite(value)) || values.Distinct().Count() == 1)
        {
            throw new InfluenceException(
                "Losses are finite numbers that are not all equal: nothing can be told from these. Leave texts "
                    + "with infinite losses out."
            );
        }

        var (x, y) = (Centred(Ranks.Of([.. positions.Select(p => (double)p)])), Centred(Ranks.Of(values)));
        var scale = Math.Sqrt(x.Sum(v => v * v) * y.Sum(v => v * v));
        var observed = Product(x, y);

        // Sums in another order differ in the last digits, and must count as equal.
        var limit = observed + (1e-9 * scale);
        return Factorial(x.Length) <= Permutations
            ? new Result(observed / scale, (double)All(x, y, limit) / Factorial(x.Length), x.Length, (int)Factorial(x.Length), true)
            : new Result(observed / scale, (1.0 + Drawn(x, y, limit)) / (1 + Permutations), x.Length, Permutations, false);
    }

    private int Drawn(double[] x, double[] y, double limit)
    {
        var (count, order) = (0, (double[])x.Clone());
        var random = new KeyedRandom(Seed, "training orders");
        for (var draw = 0; draw < Permutations; draw++)
        {
            for (var i = order.Length - 1; i > 0; i--)
            {
                var j = random.Below(i + 1);
                (order[i], order[j]) = (order[j], order[i]);
            }

            count += Product(order, y) <= limit ? 1 : 0;
        }

        return count;
    }

    /// <summary>Over every order, by exchanging two at a time.</summary>
    private static long All(double[] x, double[] y, double limit, int fixedCount = 0)
    {
        if (fixedCount == x.Length)
        {
            return Product(x, y) <= limit ? 1 : 0;
        }

        long count = 0;
        for (var i = fixedCount; i < x.Length; i++)
        {
            (x[fixedCount], x[i]) = (x[i], x[fixedCount]);
            count += All(x, y, limit, fixedCount + 1);
            (x[fixedCount], x[i]) = (x[i], x[fixedCount]);
        }

        return count;
    }

    private static double Factorial(int n) =>
        n > 20 ? double.PositiveInfinity : Enumerable.Range(1, n).Aggregate(1.0, (product, i) => product * i);

    private static double[] Centred(double[] values)
    {
        var mean = values.Average();
        return [.. values.Select(value => value - mean)];
    }

    private static double Product(double[] x, double[] y)
    {
        var sum = 0.0;
        for (var i = 0; i < x.Length; i++)
        {
            sum += x[i] * y[i];
        }

        return sum;
    }

    /// <summary>What the test found.</summary>
    /// <param name="Correlation">Spearman's, of position and loss; negative where later texts are remembered better.</param>
    /// <param name="PValue">The probability of a correlation that low or lower where the order has nothing to do with the model.</param>
    /// <param name="Texts">The number of texts.</param>
    /// <param name="Orders">The number of orders that it was compared with.</param>
    /// <param name="IsExhaustive">Whether these are all orders there are.</param>
    public sealed record Result(double Correlation, double PValue, int Texts, int Orders, bool IsExhaustive)
    {
        /// <summary>The two figures.</summary>
        /// <returns>One line.</returns>
        public override string ToString() =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"correlation of position and loss {Correlation:0.000}, p = {PValue:G3} ({Texts:N0} texts, "
                    + $"{(IsExhaustive ? "all" : "random")} {Orders:N0} orders)"
            );
    }
}
