using System.Globalization;

namespace Influence.Evaluation;

/// <summary>Says where retraining runs are noise rather than truth, and how many seeds would help.</summary>
internal static class SeedNoise
{
    private const int Most = 1000;

    /// <summary>Empty where the seeds agree beyond chance.</summary>
    /// <param name="runs">The runs.</param>
    /// <param name="ceiling">The agreement of halves of their seeds; null for one seed, or where nothing varies.</param>
    public static string Note(Retraining.Result runs, Lds.NoiseCeiling? ceiling)
    {
        var seeds = runs.Seeds.Distinct().Count();
        return seeds < 2
                ? "one seed: the runs may be noise, and nothing in them tells; add 1 seed to see how far seeds agree, 2 or more for deep "
                    + "networks"
            : ceiling is { HalfAgreement: var half } && half.Contains(0)
                ? string.Create(
                    CultureInfo.InvariantCulture,
                    $"the truth is noise: halves of the {seeds} seeds agree by {half}, which covers zero; {Advice(seeds, half)}"
                )
            : string.Empty;
    }

    /// <summary>
    /// The seeds at which the agreement that Spearman and Brown expect of halves comes above the present distance from the value to the
    /// interval's lower end.
    /// </summary>
    private static string Advice(int seeds, Estimate half)
    {
        var (halfSize, width) = (seeds / 2.0, half.Value - half.Lower);
        var single = half.Value / (halfSize - ((halfSize - 1) * half.Value)); // the reliability of one seed
        var needed = half.Value <= 0 || width >= 1 ? double.PositiveInfinity : 2 * width * (1 - single) / (single * (1 - width));
        return needed <= Most
            ? string.Create(CultureInfo.InvariantCulture, $"add about {Math.Max(1, (int)Math.Ceiling(needed) - seeds)} seeds")
            : string.Create(
                CultureInfo.InvariantCulture,
                $"add {seeds} seeds and look again, or leave out groups or larger shares: "
                    + $"effects this small need more than {Most} seeds"
            );
    }
}
