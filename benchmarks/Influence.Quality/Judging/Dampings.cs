using System.Globalization;
using Influence.Curvature;

namespace Influence.Quality.Judging;

/// <summary>The dampings that are tried.</summary>
internal static class Dampings
{
    /// <summary>Added to the eigenvalues of the mean curvature, 1 down to 10^-5 in steps of sqrt(10).</summary>
    public static IReadOnlyList<Damping> Absolute { get; } = [.. Enumerable.Range(0, 11).Select(k => Damping.Absolute(Math.Pow(10, -k / 2.0)))];

    /// <summary>As a multiple of the mean eigenvalue, 100 down to 10^-3 in steps of sqrt(10).</summary>
    public static IReadOnlyList<Damping> Relative { get; } = [.. Enumerable.Range(-4, 11).Select(k => Damping.RelativeToMeanEigenvalue(Math.Pow(10, -k / 2.0)))];

    /// <summary>Every n-th, where each costs much.</summary>
    public static IReadOnlyList<Damping> Every(this IReadOnlyList<Damping> dampings, int n) => [.. dampings.Where((_, i) => i % n == 0)];

    /// <summary>Three digits, for tables.</summary>
    public static string Short(this Damping damping) =>
        damping.Value.ToString("G3", CultureInfo.InvariantCulture) + (damping.IsRelative ? " x mean" : string.Empty);
}
