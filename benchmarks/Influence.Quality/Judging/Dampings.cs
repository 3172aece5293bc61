using System.Globalization;
using Influence.Curvature;

namespace Influence.Quality.Judging;

/// <summary>The dampings that are tried.</summary>
internal static class Dampings
{
    private static readonly double[] s_around = [10, 3, 1];

    /// <summary>Added to the eigenvalues of the mean curvature, 10 down to 10^-5 in steps of sqrt(10).</summary>
    public static IReadOnlyList<Damping> Absolute { get; } = Below(10);

    /// <summary>As a multiple of the mean eigenvalue, 100 down to 10^-3 in steps of sqrt(10).</summary>
    public static IReadOnlyList<Damping> Relative { get; } = RelativeBelow(100);

    /// <summary>Relative ones from a largest down to a 10^-5th of it, in steps of sqrt(10).</summary>
    public static IReadOnlyList<Damping> RelativeBelow(double largest) =>
        [.. Enumerable.Range(0, 11).Select(k => Damping.RelativeToMeanEigenvalue(largest * Math.Pow(10, -k / 2.0)))];

    /// <summary>Absolute ones from a largest down to a millionth of it, in steps of sqrt(10).</summary>
    public static IReadOnlyList<Damping> Below(double largest) =>
        [.. Enumerable.Range(0, 13).Select(k => Damping.Absolute(largest * Math.Pow(10, -k / 2.0)))];

    /// <summary>Few, around the damping that training itself implies.</summary>
    /// <param name="implied">See <see cref="Training.Recipe.ImpliedDamping"/>.</param>
    public static IReadOnlyList<Damping> Around(double implied) => [.. s_around.Select(factor => Damping.Absolute(factor * implied))];

    /// <summary>A damping with its neighbours in steps of sqrt(10), where many more would cost too much.</summary>
    public static IReadOnlyList<Damping> Near(Damping damping) =>
        [
            .. new[] { 0.5, 0, -0.5 }
                .Select(k => damping.Value * Math.Pow(10, k))
                .Select(v => damping.IsRelative ? Damping.RelativeToMeanEigenvalue(v) : Damping.Absolute(v)),
        ];

    /// <summary>Three digits, for tables.</summary>
    public static string Short(this Damping damping) =>
        damping.Value.ToString("G3", CultureInfo.InvariantCulture) + (damping.IsRelative ? " x mean" : string.Empty);
}
