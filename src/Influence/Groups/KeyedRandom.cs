using MathNet.Numerics.Distributions;

namespace Influence.Groups;

/// <summary>
/// Random numbers keyed by (seed, purpose, index): the same on every machine, and unchanged by what else was drawn.
/// Derives from <see cref="Random"/> so that Math.NET's distributions can draw from it.
/// </summary>
internal sealed class KeyedRandom(long seed, RandomPurpose purpose, long index = 0) : Random
{
    private const ulong Increment = 0x9E3779B97F4A7C15;

    private readonly ulong _key = LabelSampler.Mix(LabelSampler.Mix(LabelSampler.Mix((ulong)seed) ^ (ulong)purpose) ^ (ulong)index);
    private ulong _draws;

    public override double NextDouble() => (LabelSampler.Mix(_key + (_draws++ * Increment)) >> 11) * (1.0 / (1UL << 53));

    public override int Next() => Next(int.MaxValue);

    public override int Next(int maxValue) => (int)(NextDouble() * maxValue);

    public override int Next(int minValue, int maxValue) => minValue + (int)(NextDouble() * ((long)maxValue - minValue));

    protected override double Sample() => NextDouble();

    /// <summary>The numbers 0 .. count-1 in a random order.</summary>
    public int[] Permutation(int count)
    {
        int[] order = [.. Enumerable.Range(0, count)];
        for (var i = count - 1; i > 0; i--)
        {
            var j = Next(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }

        return order;
    }

    /// <summary>A point of the simplex from Dirichlet(alpha); where alpha is 0 the weight is 0.</summary>
    public double[] Dirichlet(IReadOnlyList<double> alpha)
    {
        // Gamma(a) = Gamma(a + 1) U^(1/a), kept as a logarithm: with a small a the number itself would underflow to zero.
        var logs = new double[alpha.Count];
        for (var j = 0; j < logs.Length; j++)
        {
            logs[j] = alpha[j] > 0
                ? Math.Log(Gamma.Sample(this, alpha[j] + 1, 1)) + (Math.Log(1 - NextDouble()) / alpha[j])
                : double.NegativeInfinity;
        }

        return Simplex.Softmax(logs);
    }
}

/// <summary>What random numbers are for: one seed gives unrelated numbers to each.</summary>
internal enum RandomPurpose
{
    GroupDraw = 1,
    GroupOrder,
    LatinHypercube,
    DirichletSearch,
    Proposals,
    Simulation,
    Folds,
}
