using Influence.Display;

namespace Influence.Curvature;

/// <summary>What a fit would take.</summary>
/// <param name="KeptBytes">Memory of the fitted preconditioner; a file of it is as large.</param>
/// <param name="PeakBytes">Memory during the fit, beside the model and one batch's activations.</param>
/// <param name="MultiplyAdds">Arithmetic beside the passes through the model.</param>
/// <param name="Passes">Passes over the training examples.</param>
/// <param name="Time">Estimated from one batch and one matrix product, measured on the model's device.</param>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed record CurvatureCost(long KeptBytes, long PeakBytes, double MultiplyAdds, int Passes, TimeSpan Time) : IDisplay
{
    /// <summary>What the files of a fit in units take in its <see cref="LayerwisePreconditioner.Options.Work"/> folder at most, while it
    /// runs; 0 without.</summary>
    public long DiskBytes { get; init; }

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
                ["time", Time < TimeSpan.FromMinutes(2) ? $"{Time.TotalSeconds:0.0} s" : $"{Time.TotalMinutes:0} min"],
            ]
        );
}
