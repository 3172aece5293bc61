using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// The step that Adam would take along each example's gradient g from its saved state: mhat / (sqrt(vhat) + epsilon), with
/// m = beta1 m' + (1 - beta1) g, v = beta2 v' + (1 - beta2) g^2, both divided by 1 - beta^t.
/// </summary>
/// <remarks>Kingma and Ba, 2015; as features in LESS (Xia et al., ICML 2024) and CoLM. Not linear in g: a batch's mean will not do.</remarks>
public static class AdamFeatures
{
    /// <summary>One row an example.</summary>
    /// <param name="gradients"><c>[B, d]</c>.</param>
    /// <param name="firstMoment"><c>[d]</c>: m' (exp_avg) in the order of the gradients.</param>
    /// <param name="secondMoment"><c>[d]</c>: v' (exp_avg_sq).</param>
    /// <param name="step">t, counting this step; at least 1.</param>
    /// <param name="beta1">Adam's.</param>
    /// <param name="beta2">Adam's.</param>
    /// <param name="epsilon">Adam's.</param>
    /// <returns><c>[B, d]</c>; the caller's.</returns>
    /// <exception cref="InfluenceException">Other shapes, or a step below 1.</exception>
    public static Tensor Of(
        Tensor gradients, Tensor firstMoment, Tensor secondMoment, long step, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8)
    {
        ArgumentNullException.ThrowIfNull(gradients);
        ArgumentNullException.ThrowIfNull(firstMoment);
        ArgumentNullException.ThrowIfNull(secondMoment);
        if (gradients.dim() != 2 || firstMoment.dim() != 1 || secondMoment.dim() != 1
            || firstMoment.shape[0] != gradients.shape[1] || secondMoment.shape[0] != gradients.shape[1])
        {
            throw new InfluenceException(
                $"Gradients [B, d] and moments [d] are expected; found [{string.Join(", ", gradients.shape)}], [{string.Join(", ", firstMoment.shape)}] and [{string.Join(", ", secondMoment.shape)}].");
        }

        if (step < 1)
        {
            throw new InfluenceException($"Adam's steps count from 1; found {step}.");
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var m = ((firstMoment * beta1) + (gradients * (1 - beta1))) / (1 - Math.Pow(beta1, step));      // [B, d]
        var v = ((secondMoment * beta2) + (gradients.square() * (1 - beta2))) / (1 - Math.Pow(beta2, step));
        return (m / (v.sqrt() + epsilon)).MoveToOuterDisposeScope();
    }
}
