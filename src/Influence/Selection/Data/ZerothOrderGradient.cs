using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Gradients from losses alone (SPSA): (L(theta + epsilon z) - L(theta - epsilon z)) / (2 epsilon) times z, for a random direction z. In
/// expectation over standard normal z it is the gradient, up to terms of order epsilon^2; for a linear loss it is (g . z) z exactly.
/// </summary>
/// <remarks>Spall 1992; as features for <see cref="Colm"/> with one z for the whole batch, so that examples can be compared.</remarks>
public static class ZerothOrderGradient
{
    /// <summary>One row an example.</summary>
    /// <param name="lossesAbove"><c>[B]</c>: each example's loss at theta + epsilon z.</param>
    /// <param name="lossesBelow"><c>[B]</c>: at theta - epsilon z.</param>
    /// <param name="direction"><c>[d]</c>: z.</param>
    /// <param name="epsilon">Above 0; 1e-3 in the paper.</param>
    /// <returns><c>[B, d]</c>; the caller's.</returns>
    /// <exception cref="InfluenceException">Other shapes, or an epsilon that is not above 0.</exception>
    public static Tensor Of(Tensor lossesAbove, Tensor lossesBelow, Tensor direction, double epsilon = 1e-3)
    {
        ArgumentNullException.ThrowIfNull(lossesAbove);
        ArgumentNullException.ThrowIfNull(lossesBelow);
        ArgumentNullException.ThrowIfNull(direction);
        if (lossesAbove.dim() != 1 || lossesBelow.dim() != 1 || direction.dim() != 1 || lossesAbove.shape[0] != lossesBelow.shape[0])
        {
            throw new InfluenceException(
                $"Losses [B], losses [B] and a direction [d] are expected; found [{string.Join(", ", lossesAbove.shape)}], [{string.Join(", ", lossesBelow.shape)}] and [{string.Join(", ", direction.shape)}].");
        }

        if (!(epsilon > 0))
        {
            throw new InfluenceException($"epsilon is above 0, not {epsilon}.");
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var slopes = (lossesAbove - lossesBelow) / (2 * epsilon);                       // [B]
        return (slopes.unsqueeze(1) * direction.unsqueeze(0)).MoveToOuterDisposeScope();
    }
}
