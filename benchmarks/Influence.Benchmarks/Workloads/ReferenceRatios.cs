namespace Influence.Benchmarks.Workloads;

/// <summary>
/// What to compare with, in plain epochs at the same batch size: the aim, and what other tools took on two cores with the
/// same libtorch (one to three runs each, one significant figure).
/// </summary>
/// <param name="PairsAim">The aim for all pairs over all parameters.</param>
/// <param name="SelfAim">The aim for self-influence.</param>
/// <param name="PairsOfOthers">Other tools' all pairs over all parameters.</param>
internal sealed record ReferenceRatios(double PairsAim, double SelfAim, IReadOnlyList<(string Tool, double Ratio)> PairsOfOthers);
