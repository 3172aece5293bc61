using Influence.Display;

namespace Influence.Curvature;

/// <summary>
/// The diagonal of the Fisher matrix, the mean squared gradient of every parameter: the cheapest curvature, blind to every
/// correlation.
/// <code>P(g) = g / (mean over examples of g_z^2 + damping)</code>
/// </summary>
/// <remarks>
/// Cost: one pass over the training examples; as many numbers as parameters. Its eigenvalues are in the unit of EK-FAC's.
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class DiagonalFisher : LayerwisePreconditioner
{
    internal const string Method = "diagonal Fisher";

    private DiagonalFisher(CurvatureInfo info, BlockCurvature?[] blocks)
        : base(info, blocks) { }

    /// <summary>Fits the diagonal Fisher at the model's current weights.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found.</param>
    /// <param name="train">The training examples, or a sample of them.</param>
    /// <param name="options">Null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, NaN gradients, labels that cannot be sampled, or a fit that would not fit
    /// <see cref="LayerwisePreconditioner.Options.MemoryBudget"/>.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static DiagonalFisher Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        var (info, blocks) = FitBlocks(Method, CurvatureKind.Diagonal, task, train, options, progress, cancellationToken);
        return new DiagonalFisher(info, blocks);
    }

    /// <summary>What a fit would cost: memory, disk, and time from one measured batch.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">The training examples.</param>
    /// <param name="options">Null: the defaults.</param>
    /// <returns>The estimate.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    public static CurvatureCost Estimate(InfluenceTask task, Examples train, Options? options = null) =>
        EstimateBlocks(CurvatureKind.Diagonal, task, train, options);

    /// <summary>Reads what <see cref="LayerwisePreconditioner.Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where it will be used: the model's device.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, or holds something else.</exception>
    public static new DiagonalFisher Load(string path, TorchSharp.torch.Device? device = null)
    {
        var (info, blocks) = LayerwiseFile.Load(path, [Method], device);
        return new DiagonalFisher(info, blocks);
    }
}
