namespace Influence.Curvature;

public abstract partial class LayerwisePreconditioner
{
    /// <summary>
    /// What the two Kronecker factors of a layer's curvature are made of. All are sums over examples or positions and never over a batch's
    /// mean gradient, so that the size of batches changes nothing. Which scores best is to be tried: by the linear datamodeling score of
    /// one published comparison (GPT-2 on WikiText-2) EC-Shampoo had 0.517 where EK-FAC had 0.454.
    /// </summary>
    public enum FactorKind
    {
        /// <summary>K-FAC's: the covariance A of the activations and G of the output gradients, means over the positions that
        /// count.</summary>
        Kfac,

        /// <summary>
        /// Shampoo's, of each example's whole gradient G_z: <c>L = mean G_z G_z', R = mean G_z' G_z, H ~ L (x) R / tr R</c>. What differs
        /// between positions of one example counts as it does in its gradient. <see cref="Ekfac"/> with these is EC-Shampoo. Layers with
        /// the same input share nothing, and a step of the first pass costs up to O I (O + I) an example. In an embedding table the tokens'
        /// factor keeps its diagonal. References: Morwani et al., "A New Perspective on Shampoo's Preconditioner", 2024; Eschenhagen et
        /// al., "Purifying Shampoo", 2025.
        /// </summary>
        Shampoo,

        /// <summary>
        /// TKFAC's, of each position: <c>A' = mean |d|^2 a a', S' = mean |a|^2 d d', H ~ S' (x) A' / mean |a|^2 |d|^2</c>, which keeps the
        /// trace of the positions' Fisher matrix. With one position an example the same as <see cref="Shampoo"/>. Reference: Gao et al., "A
        /// Trace-restricted Kronecker-Factored Approximation to Natural Gradient", AAAI 2021.
        /// </summary>
        Tkfac,
    }
}
