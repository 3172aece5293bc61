namespace Influence.Numerics;

/// <summary>Quantiles of Student's t, by bisection on its distribution function (a regularised incomplete beta function).</summary>
internal static class StudentT
{
    /// <param name="probability">Between 0 and 1.</param>
    /// <param name="freedom">Degrees of freedom, at least 1; infinity for the normal distribution.</param>
    /// <returns>The value below which that share of the distribution lies.</returns>
    public static double Quantile(double probability, double freedom)
    {
        if (probability < 0.5)
        {
            return -Quantile(1 - probability, freedom);
        }

        // Beyond a million degrees of freedom t is normal to twelve digits of what is asked here.
        var finite = Math.Min(freedom, 1e6);
        var (low, high) = (0.0, 1.0);
        while (Distribution(high, finite) < probability)
        {
            (low, high) = (high, 2 * high);
        }

        for (var i = 0; i < 200 && high - low > 1e-14 * high; i++)
        {
            var middle = (low + high) / 2;
            (low, high) = Distribution(middle, finite) < probability ? (middle, high) : (low, middle);
        }

        return (low + high) / 2;
    }

    /// <summary>P(T &lt;= t) for t >= 0: 1 - I_x(freedom / 2, 1 / 2) / 2 with x = freedom / (freedom + t^2).</summary>
    public static double Distribution(double t, double freedom) =>
        1 - (RegularizedBeta(freedom / (freedom + (t * t)), freedom / 2, 0.5) / 2);

    private static double RegularizedBeta(double x, double a, double b)
    {
        if (x is 0 or 1)
        {
            return x;
        }

        var front = Math.Exp(LogGamma(a + b) - LogGamma(a) - LogGamma(b) + (a * Math.Log(x)) + (b * Math.Log(1 - x)));
        return x < (a + 1) / (a + b + 2) ? front * Fraction(x, a, b) / a : 1 - (front * Fraction(1 - x, b, a) / b);
    }

    /// <summary>The continued fraction of the incomplete beta function, by Lentz's method.</summary>
    private static double Fraction(double x, double a, double b)
    {
        const double Tiny = 1e-300;
        var (c, d) = (1.0, Inverse(1 - ((a + b) * x / (a + 1))));
        var value = d;
        for (var m = 1; m <= 10_000; m++)
        {
            Step(m * (b - m) * x / ((a + (2 * m) - 1) * (a + (2 * m))));
            var factor = Step(-(a + m) * (a + b + m) * x / ((a + (2 * m)) * (a + (2 * m) + 1)));
            if (Math.Abs(factor - 1) < 1e-16)
            {
                break;
            }
        }

        return value;

        double Step(double term)
        {
            d = Inverse(1 + (term * d));
            c = 1 + (term / c);
            c = Math.Abs(c) < Tiny ? Tiny : c;
            value *= c * d;
            return c * d;
        }

        static double Inverse(double v) => 1 / (Math.Abs(v) < Tiny ? Tiny : v);
    }

    /// <summary>ln Gamma(x) for x > 0: Stirling's series where it is exact to rounding, reached by Gamma(x + 1) = x Gamma(x).</summary>
    private static double LogGamma(double x)
    {
        var shift = 0.0;
        for (; x < 15; x++)
        {
            shift -= Math.Log(x);
        }

        var r = 1 / (x * x);
        var series = (1.0 / 12 - (r * (1.0 / 360 - (r * (1.0 / 1260 - (r * (1.0 / 1680 - (r / 1188)))))))) / x;
        return shift + ((x - 0.5) * Math.Log(x)) - x + (0.5 * Math.Log(2 * Math.PI)) + series;
    }
}
