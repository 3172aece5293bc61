using Influence.Display;
using Influence.Gradients;

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

    /// <summary>
    /// Takes the factors that kronfluence fitted with <c>strategy="ekfac"</c>: its bases and its eigenvalues, divided by their number of
    /// examples, are those of this class.
    /// </summary>
    /// <remarks>
    /// Modules are found by the names of their weights: <c>encoder.fc1</c> has the factors of <c>encoder.fc1.weight</c> and its bias.
    /// kronfluence does not keep at which weights it fitted: that the model has them is the caller's word, and the fit belongs to them
    /// from here on.
    /// </remarks>
    /// <param name="folder">The folder, <c>influence_results/ANALYSIS/factors_NAME</c>.</param>
    /// <param name="task">The model, with the weights that the factors were fitted at. Its <c>Layers</c> are those that were
    /// tracked.</param>
    /// <param name="train">Some training examples, by which the model is looked at.</param>
    /// <param name="damping">The damping where a call gives none; null: a tenth of each layer's mean eigenvalue, as in kronfluence.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">A file is missing or is no factor, or a layer has none or some of another size.</exception>
    public static Ekfac FromKronfluence(string folder, InfluenceTask task, Examples train, Damping? damping = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = TorchSharp.torch.NewDisposeScope();
        using var noGrad = TorchSharp.torch.no_grad();
        using var session = GradientSession.Open(task, train, queries: null);
        var factors = new KronfluenceFactors(folder, session);
        var blocks = factors.Read();
        return new Ekfac(
            new CurvatureInfo
            {
                Method = Method,
                Matrix = "as kronfluence's arguments say",
                Damping = damping ?? Damping.Default,
                Examples = factors.Examples,
                Weights = session.WeightsFingerprint(),
                Integrity = Formats.SafetensorsChecksum.Unverified,
                Cost = null,
            },
            blocks
        );
    }
}
