using Distribution = MathNet.Numerics.Distributions;

namespace Influence.Numerics;

/// <summary>Quantiles of Student's t.</summary>
internal static class StudentT
{
    /// <param name="probability">Between 0 and 1.</param>
    /// <param name="freedom">Degrees of freedom, at least 1; infinity for the normal distribution.</param>
    /// <returns>The value below which that share of the distribution lies.</returns>
    public static double Quantile(double probability, double freedom) =>
        freedom switch
        {
            double.PositiveInfinity => Distribution.Normal.InvCDF(0, 1, probability),

            // Heavy tails, in closed form: Math.NET looks for a quantile between -800 and 800 only.
            1 => Math.Tan(Math.PI * (probability - 0.5)),
            2 => ((2 * probability) - 1) / Math.Sqrt(2 * probability * (1 - probability)),
            _ => Distribution.StudentT.InvCDF(0, 1, freedom, probability),
        };
}
