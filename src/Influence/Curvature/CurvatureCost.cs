using Influence.Display;
using Influence.Distributed;

namespace Influence.Curvature;

/// <summary>What a fit would take.</summary>
/// <param name="KeptBytes">Memory of the fitted preconditioner; a file of it is as large.</param>
/// <param name="PeakBytes">Memory during the fit, beside the model and one batch's activations.</param>
/// <param name="MultiplyAdds">Arithmetic beside the passes through the model.</param>
/// <param name="Passes">Passes over the training examples.</param>
/// <param name="Time">By the clock, from some batches that were measured on the model's device and from decompositions of the sizes that
/// there are.</param>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed record CurvatureCost(long KeptBytes, long PeakBytes, double MultiplyAdds, int Passes, TimeSpan Time) : IDisplay
{
    /// <summary>What the files of a fit in units take in its <see cref="LayerwisePreconditioner.Options.Work"/> folder at most, while it
    /// runs; 0 without.</summary>
    public long DiskBytes { get; init; }

    /// <summary>The processor's part of <see cref="Time"/>, all threads of the process together: less than the clock's where others use the
    /// machine, more where several threads work. Null where the system does not tell.</summary>
    public TimeSpan? Processor { get; init; }

    /// <summary>What of <see cref="Time"/> the eigendecompositions take: they grow with the cube of a layer's width and not with the
    /// examples, and <see cref="LayerwisePreconditioner.Options.MaximumFactorSize"/> makes them smaller.</summary>
    public TimeSpan Decompositions { get; init; }

    /// <summary>A table of the figures.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    internal void RefuseAbove(long budget)
    {
        if (PeakBytes > budget)
        {
            throw new InfluenceException(
                $"The fit would take {Mebibytes(PeakBytes)} beside the model, and its MemoryBudget is {Mebibytes(budget)}. Set the "
                    + "MaximumFactorSize of its Options or the examples' BatchSize lower, "
                    + "leave layers out by Layers = LayerSelection.Where(...), or raise MemoryBudget."
            );
        }
    }

    private static string Mebibytes(long bytes) => $"{bytes / (1024.0 * 1024):N1} MiB";

    private Table ToTable() =>
        new(
            "Cost of the fit",
            ["what", "how much"],
            [
                ["memory and disk of the fit", Mebibytes(KeptBytes)],
                ["peak memory beside the model", Mebibytes(PeakBytes)],
                .. DiskBytes > 0
                    ?
                    [
                        ["disk for units, at most", Mebibytes(DiskBytes)],
                    ]
                    : Array.Empty<IReadOnlyList<object>>(),
                ["passes over the training examples", Passes],
                ["multiply-adds beside them", $"{MultiplyAdds:0.0e+0}"],
                ["time", Work.Cost.InWords(Time)],
                ["of it eigendecompositions", Work.Cost.InWords(Decompositions)],
                .. Processor is { } processor
                    ?
                    [
                        ["of the processor", Work.Cost.InWords(processor)],
                    ]
                    : Array.Empty<IReadOnlyList<object>>(),
            ]
        );
}
