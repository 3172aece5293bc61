namespace Influence.Benchmarks.Recording;

/// <summary>What a kind of step took.</summary>
/// <param name="Workload">The workload's key.</param>
/// <param name="Step">The kind of step.</param>
/// <param name="Milliseconds">Of one step, the median over the rounds.</param>
/// <param name="MinMilliseconds">Of one step in the fastest round.</param>
/// <param name="Ratio">The median over the rounds of its time over that of the plain steps in the same round.</param>
/// <param name="RatioOfMinima">Fastest over fastest.</param>
/// <param name="Aim">The aim for the ratio, where there is one.</param>
/// <param name="Rounds">How many rounds.</param>
internal sealed record RecordingTiming(
    string Workload,
    string Step,
    double Milliseconds,
    double MinMilliseconds,
    double Ratio,
    double RatioOfMinima,
    double? Aim,
    int Rounds
);
