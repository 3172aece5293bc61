using MathNet.Numerics.Distributions;

namespace Influence.Numerics;

/// <summary>Draws from Dirichlet distributions.</summary>
internal static class DirichletDraws
{
    /// <summary>A point of the simplex from Dirichlet(alpha); where alpha is 0 the weight is 0.</summary>
    public static double[] Dirichlet(this KeyedRandom random, IReadOnlyList<double> alpha)
    {
        // Gamma(a) = Gamma(a + 1) U^(1/a), kept as a logarithm: with a small a the number itself would underflow to zero.
        var logs = new double[alpha.Count];
        for (var j = 0; j < logs.Length; j++)
        {
            logs[j] =
                alpha[j] > 0
                    ? Math.Log(Gamma.Sample(random, alpha[j] + 1, 1)) + (Math.Log(1 - random.NextDouble()) / alpha[j])
                    : double.NegativeInfinity;
        }

        return Simplex.Softmax(logs);
    }
}
