namespace Influence.Benchmarks.Workloads;

/// <summary>
/// What to compare with, in plain epochs at the same batch size: the aim, and what other tools took on two cores with the
/// same libtorch (one to three runs each, one significant figure).
/// </summary>
/// <param name="PairsAim">The aim for all pairs over all parameters.</param>
/// <param name="SelfAim">The aim for self-influence.</param>
/// <param name="PairsOfOthers">Other tools' all pairs over all parameters.</param>
/// <param name="Kfac">The fit of K-FAC and all pairs with it.</param>
/// <param name="Ekfac">The fit of EK-FAC and all pairs with it.</param>
internal sealed record ReferenceRatios(
    double PairsAim,
    double SelfAim,
    IReadOnlyList<(string Tool, double Ratio)> PairsOfOthers,
    FitAndScore Kfac,
    FitAndScore Ekfac
);

/// <summary>Fit and all pairs together, in plain epochs.</summary>
/// <param name="Aim">The aim; null for none.</param>
/// <param name="BestOther">What the best other tool took; null where that was not measured.</param>
/// <param name="BestOtherMiB">Its peak memory; null where that was not measured. The aim is a third of it.</param>
internal sealed record FitAndScore(double? Aim, double? BestOther, double? BestOtherMiB)
{
    public double? AimMiB => BestOtherMiB / 3;
}
