namespace Influence.Benchmarks.Reporting;

/// <summary>Everything that one run found; the JSON file is this record.</summary>
internal sealed record Report(
    string Date,
    string Device,
    bool Quick,
    IReadOnlyDictionary<string, string> Machine,
    IReadOnlyList<WorkloadReport> Workloads
);

/// <summary>One workload's figures.</summary>
/// <param name="Key">Its name on the command line.</param>
/// <param name="Title">Model and sizes.</param>
/// <param name="Data">Where the data come from.</param>
/// <param name="Contractions">How the library chose to form the products.</param>
/// <param name="MatmulRate">Multiply-adds a second of large float32 matrix products, in the fastest round.</param>
/// <param name="Timings">The plain epoch, TracIn and group influence.</param>
/// <param name="Influence">K-FAC and EK-FAC; fit and score, and both together.</param>
/// <param name="Floors">The least work of each.</param>
/// <param name="Parts">Where the time goes, seconds.</param>
/// <param name="Others">What other tools took for all pairs, in plain epochs.</param>
internal sealed record WorkloadReport(
    string Key,
    string Title,
    string Data,
    string Contractions,
    double MatmulRate,
    IReadOnlyList<Timing> Timings,
    IReadOnlyList<Timing> Influence,
    IReadOnlyList<FloorReport> Floors,
    IReadOnlyList<PartReport> Parts,
    IReadOnlyList<OtherTool> Others
);

/// <summary>One computation's time and memory.</summary>
/// <param name="Name">The computation.</param>
/// <param name="Seconds">The median of the runs.</param>
/// <param name="Min">The fastest run.</param>
/// <param name="Max">The slowest run.</param>
/// <param name="Runs">How many runs.</param>
/// <param name="PlainEpochs">Median over the plain epoch's median.</param>
/// <param name="PlainEpochsOfMinima">Fastest run over the plain epoch's fastest: the least disturbed by other work.</param>
/// <param name="Aim">The aim in plain epochs, where there is one.</param>
/// <param name="PeakMiB">Peak host memory beyond the model and the data, where it was measured.</param>
/// <param name="PeakGpuMiB">The same on the GPU.</param>
/// <param name="Note">What a reader must know.</param>
internal sealed record Timing(
    string Name,
    double Seconds,
    double Min,
    double Max,
    int Runs,
    double PlainEpochs,
    double PlainEpochsOfMinima,
    double? Aim,
    double? PeakMiB,
    double? PeakGpuMiB,
    string Note
)
{
    /// <summary>What the best other tool took, in plain epochs of its own, where that is known.</summary>
    public double? BestOther { get; init; }

    /// <summary>The aim for <see cref="PeakMiB"/>: a third of what the best other tool took.</summary>
    public double? AimPeakMiB { get; init; }
}

/// <summary>The floor of one computation.</summary>
/// <param name="Name">The computation.</param>
/// <param name="GigaMultiplyAdds">What it cannot do without, counted from shapes.</param>
/// <param name="Seconds">At the measured rate of large matrix products.</param>
/// <param name="PlainEpochsByCount">Over the plain epoch's own count: the ratio if everything ran at one rate.</param>
/// <param name="Measured">The computation's fastest run, seconds.</param>
/// <param name="Parts">Its parts, giga multiply-adds.</param>
internal sealed record FloorReport(
    string Name,
    double GigaMultiplyAdds,
    double Seconds,
    double PlainEpochsByCount,
    double Measured,
    IReadOnlyDictionary<string, double> Parts
);

/// <summary>A part of a computation, timed on its own.</summary>
internal sealed record PartReport(string Computation, string Name, double Seconds, double Min, double PlainEpochs);

/// <summary>What another tool took for all pairs over all parameters.</summary>
internal sealed record OtherTool(string Tool, double PlainEpochs);
