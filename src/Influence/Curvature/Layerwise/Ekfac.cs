using Influence.Display;

namespace Influence.Curvature;

/// <summary>
/// EK-FAC: in each layer, eigenvectors of the activations' covariance A and of the output gradients' covariance G, and the
/// curvature measured along their products.
/// <code>Lambda[o, i] = mean over examples of ((Q_G' G_z Q_A)[o, i])^2,   P(G) = Q_G [ (Q_G' G Q_A) / (Lambda + damping) ] Q_A'</code>
/// The best layer-wise approximation of this family, and the default.
/// </summary>
/// <remarks>
/// <para>
/// A and G are means over the positions that count, Lambda over examples. Convolutions are linear layers over their patches,
/// with one Kronecker product for each group of channels; embeddings have a diagonal input factor; a table that is embedding
/// and head at once has the eigenvectors of the head's inputs, and eigenvalues measured with its whole gradient, so that the cross terms of
/// the two uses count; norms, biases on their own
/// and what is taken by single examples have a diagonal. The eigenvectors may be those of other factors,
/// <see cref="LayerwisePreconditioner.Options.Factors"/>: of Shampoo's, which makes it EC-Shampoo, or of TKFAC's.
/// </para>
/// <para>
/// Cost: two passes over the training examples without weight gradients, and for each layer of I inputs and O outputs two
/// eigendecompositions in float64, I^3 + O^3. Memory: I^2 + O^2 + I O numbers a layer. What layers with the same input (q, k and
/// v projections) have in common is made once.
/// </para>
/// <para>
/// References: George, Laurent, Bouthillier, Ballas, Vincent, "Fast Approximate Natural Gradient Descent in a Kronecker-factored
/// Eigenbasis", NeurIPS 2018; Grosse et al., "Studying Large Language Model Generalization with Influence Functions", 2023,
/// section 2.2.
/// </para>
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class Ekfac : LayerwisePreconditioner
{
    internal const string Method = "EK-FAC";

    private Ekfac(CurvatureInfo info, BlockCurvature?[] blocks)
        : base(info, blocks) { }

    /// <summary>Fits EK-FAC at the model's current weights.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found.</param>
    /// <param name="train">The training examples, or a sample of them.</param>
    /// <param name="options">Null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, NaN gradients, labels that cannot be sampled, or a fit that would not fit
    /// <see cref="LayerwisePreconditioner.Options.MemoryBudget"/>.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static Ekfac Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        var (info, blocks) = FitBlocks(Method, CurvatureKind.Ekfac, task, train, options, progress, cancellationToken);
        return new Ekfac(info, blocks);
    }

    /// <summary>What a fit would cost: memory, disk, and time from one measured batch.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">The training examples.</param>
    /// <param name="options">Null: the defaults.</param>
    /// <returns>The estimate.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    public static CurvatureCost Estimate(InfluenceTask task, Examples train, Options? options = null) =>
        EstimateBlocks(CurvatureKind.Ekfac, task, train, options);

    /// <summary>Reads what <see cref="LayerwisePreconditioner.Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where it will be used: the model's device.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, or holds something else.</exception>
    public static new Ekfac Load(string path, TorchSharp.torch.Device? device = null)
    {
        var (info, blocks) = LayerwiseFile.Load(path, FactorSums.NamesOf(Method), device);
        return new Ekfac(info, blocks);
    }
}
