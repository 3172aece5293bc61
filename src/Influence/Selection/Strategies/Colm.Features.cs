using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

public sealed partial record Colm
{
    /// <summary>
    /// Gradients from losses alone (SPSA), one row an example: (L(theta + epsilon z) - L(theta - epsilon z)) / (2 epsilon) times z, for
    /// a random direction z. In expectation over standard normal z it is the gradient, up to terms of order epsilon^2; for a linear
    /// loss it is (g . z) z exactly.
    /// </summary>
    /// <remarks>Spall 1992; one z serves the whole batch, so that examples can be compared.</remarks>
    /// <param name="lossesAbove"><c>[B]</c>: each example's loss at theta + epsilon z.</param>
    /// <param name="lossesBelow"><c>[B]</c>: at theta - epsilon z.</param>
    /// <param name="direction"><c>[d]</c>: z.</param>
    /// <param name="epsilon">Above 0; 1e-3 in the paper.</param>
    /// <returns><c>[B, d]</c>; the caller's.</returns>
    /// <exception cref="InfluenceException">Other shapes, or an epsilon that is not above 0.</exception>
    public static Tensor GradientsFromLosses(Tensor lossesAbove, Tensor lossesBelow, Tensor direction, double epsilon = 1e-3)
    {
        ArgumentNullException.ThrowIfNull(lossesAbove);
        ArgumentNullException.ThrowIfNull(lossesBelow);
        ArgumentNullException.ThrowIfNull(direction);
        if (lossesAbove.dim() != 1 || lossesBelow.dim() != 1 || direction.dim() != 1 || lossesAbove.shape[0] != lossesBelow.shape[0])
        {
            throw new InfluenceException(
                $"Losses [B], losses [B] and a direction [d] are expected; found [{string.Join(", ", lossesAbove.shape)}], "
                    + $"[{string.Join(", ", lossesBelow.shape)}] and [{string.Join(", ", direction.shape)}]."
            );
        }

        if (!(epsilon > 0))
        {
            throw new InfluenceException($"epsilon is above 0, not {epsilon}.");
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var slopes = (lossesAbove - lossesBelow) / Kept(2 * epsilon); // [B]
        return (slopes.unsqueeze(1) * direction.unsqueeze(0)).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// The step that Adam would take along each example's gradient g from its saved state, one row an example:
    /// mhat / (sqrt(vhat) + epsilon), with m = beta1 m' + (1 - beta1) g, v = beta2 v' + (1 - beta2) g^2, both divided by 1 - beta^t.
    /// </summary>
    /// <remarks>Kingma and Ba, 2015; as features in LESS (Xia et al., ICML 2024) and CoLM. Not linear in g: a batch's mean will not
    /// do.</remarks>
    /// <param name="gradients"><c>[B, d]</c>.</param>
    /// <param name="firstMoment"><c>[d]</c>: m' (exp_avg) in the order of the gradients.</param>
    /// <param name="secondMoment"><c>[d]</c>: v' (exp_avg_sq).</param>
    /// <param name="step">t, counting this step; at least 1.</param>
    /// <param name="beta1">Adam's.</param>
    /// <param name="beta2">Adam's.</param>
    /// <param name="epsilon">Adam's.</param>
    /// <returns><c>[B, d]</c>; the caller's.</returns>
    /// <exception cref="InfluenceException">Other shapes, or a step below 1.</exception>
    public static Tensor AdamSteps(
        Tensor gradients,
        Tensor firstMoment,
        Tensor secondMoment,
        long step,
        double beta1 = 0.9,
        double beta2 = 0.999,
        double epsilon = 1e-8
    )
    {
        ArgumentNullException.ThrowIfNull(gradients);
        ArgumentNullException.ThrowIfNull(firstMoment);
        ArgumentNullException.ThrowIfNull(secondMoment);
        if (
            gradients.dim() != 2
            || firstMoment.dim() != 1
            || secondMoment.dim() != 1
            || firstMoment.shape[0] != gradients.shape[1]
            || secondMoment.shape[0] != gradients.shape[1]
        )
        {
            throw new InfluenceException(
                $"Gradients [B, d] and moments [d] are expected; found [{string.Join(", ", gradients.shape)}], "
                    + $"[{string.Join(", ", firstMoment.shape)}] and [{string.Join(", ", secondMoment.shape)}]."
            );
        }

        if (step < 1)
        {
            throw new InfluenceException($"Adam's steps count from 1; found {step}.");
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var m = ((firstMoment * Kept(beta1)) + (gradients * Kept(1 - beta1))) / Kept(1 - Math.Pow(beta1, step)); // [B, d]
        var v = ((secondMoment * Kept(beta2)) + (gradients.Squared() * Kept(1 - beta2))) / Kept(1 - Math.Pow(beta2, step));
        return (m / (v.sqrt() + Kept(epsilon))).MoveToOuterDisposeScope();
    }
}
