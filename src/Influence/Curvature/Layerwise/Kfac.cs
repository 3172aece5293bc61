using Influence.Display;

namespace Influence.Curvature;

/// <summary>
/// K-FAC: in each layer the curvature is taken as G (x) A, the covariances of the output gradients and of the activations.
/// <code>P(G) = Q_G [ (Q_G' G Q_A) / (lambda_G lambda_A' + damping) ] Q_A'</code>
/// One pass where <see cref="Ekfac"/> takes two; the eigenvalues are products rather than measured.
/// </summary>
/// <remarks>
/// <para>
/// Both covariances are means over the positions that count (those that the loss depends on, and a
/// <see cref="InfluenceTask.PositionMask"/> keeps), so that with T positions per example the eigenvalues are smaller
/// than EK-FAC's, which count an example whole, by a factor of about T; a relative damping scales along.
/// </para>
/// <para>
/// A table that is embedding and head at once keeps its diagonal, in which the cross terms of the two uses count: their Fisher is no
/// Kronecker product, and a product of covariances would leave the cross terms out. <see cref="Ekfac"/> measures its eigenvalues.
/// </para>
/// <para>Reference: Martens, Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", ICML 2015.</para>
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class Kfac : LayerwisePreconditioner
{
    internal const string Method = "K-FAC";

    private Kfac(CurvatureInfo info, BlockCurvature?[] blocks)
        : base(info, blocks) { }

    /// <summary>Fits K-FAC at the model's current weights.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found.</param>
    /// <param name="train">The training examples, or a sample of them.</param>
    /// <param name="options">Null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, NaN gradients, labels that cannot be sampled, or a fit that would not fit
    /// <see cref="LayerwisePreconditioner.Options.MemoryBudget"/>.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static Kfac Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        var (info, blocks) = FitBlocks(Method, CurvatureKind.Kfac, task, train, options, progress, cancellationToken);
        return new Kfac(info, blocks);
    }

    /// <summary>What a fit would cost: memory, disk, and time from one measured batch.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">The training examples.</param>
    /// <param name="options">Null: the defaults.</param>
    /// <returns>The estimate.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    public static CurvatureCost Estimate(InfluenceTask task, Examples train, Options? options = null) =>
        EstimateBlocks(CurvatureKind.Kfac, task, train, options);

    /// <summary>Reads what <see cref="LayerwisePreconditioner.Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where it will be used: the model's device.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, or holds something else.</exception>
    public static new Kfac Load(string path, TorchSharp.torch.Device? device = null)
    {
        var (info, blocks) = LayerwiseFile.Load(path, FactorSums.NamesOf(Method), device);
        return new Kfac(info, blocks);
    }
}
