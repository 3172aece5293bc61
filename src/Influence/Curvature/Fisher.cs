namespace Influence.Curvature;

/// <summary>Which labels the gradients that make up the curvature are taken with.</summary>
public enum Fisher
{
    /// <summary>
    /// Labels drawn from the model's predictions: the true Fisher, which for softmax and squared errors is the Gauss-Newton
    /// matrix in expectation, where the loss is the sum of minus log likelihoods. A factor c on the loss, a mean over positions
    /// too, scales the Fisher by c^2 and the Gauss-Newton matrix by c; a relative damping scales along. The default.
    /// </summary>
    Sampled,

    /// <summary>
    /// The data's own labels. Not the Gauss-Newton matrix: it shrinks as the model fits, and its scale depends on the fit.
    /// </summary>
    Empirical,
}
