using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// DRRho's weights for the losses of a batch by a reference model: what the reference finds easy and the model does not yet weighs most,
/// <c>w = softmax((l - l_reference) / temperature)</c>, the gradient's weights of <c>temperature log mean exp((l - l_reference) /
/// temperature)</c>. In the loop: <c>var w = reweighting.Weights(losses, reference); (w * losses).sum().backward();</c>
/// </summary>
/// <remarks>
/// Wei et al., "Model Steering: Learning with a Reference Model Improves Generalization Bounds and Scaling Laws", 2025 (DRRho, arXiv
/// 2505.06699). The weights are constants: no gradient goes through them. The reference's losses do not change, so they are computed once.
/// A high temperature makes the weights equal.
/// </remarks>
public sealed record ReferenceReweighting
{
    /// <summary>tau: high = nearly equal weights.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Not above 0, or infinite.</exception>
    public double Temperature
    {
        get;
        init => field = Check.Positive(value);
    } = 1;

    /// <summary>The weights of a batch.</summary>
    /// <param name="losses">One loss per example, floating point <c>[B]</c>; its graph is left alone.</param>
    /// <param name="reference">The reference model's losses of the same examples, <c>[B]</c>.</param>
    /// <returns>Detached weights that sum to 1, <c>[B]</c>, of the losses' dtype and device; the caller's.</returns>
    /// <exception cref="InfluenceException">Shapes that differ, none, or losses that are not finite.</exception>
    public Tensor Weights(Tensor losses, Tensor reference)
    {
        ArgumentNullException.ThrowIfNull(losses);
        ArgumentNullException.ThrowIfNull(reference);
        if (
            losses.dim() != 1
            || losses.shape[0] == 0
            || !losses.is_floating_point()
            || !reference.is_floating_point()
            || !reference.shape.SequenceEqual(losses.shape)
        )
        {
            throw new InfluenceException(
                $"One loss per example is expected of both models, floating point [B] with B above 0; found {losses.dtype} "
                    + $"[{string.Join(", ", losses.shape)}] and {reference.dtype} [{string.Join(", ", reference.shape)}]. Write "
                    + "reduction: Reduction.None in the loss."
            );
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var gaps = losses.detach() - reference.detach().to(losses.dtype, losses.device); // [B]
        if (!gaps.isfinite().all().item<bool>())
        {
            throw new InfluenceException("Losses are finite; found some that are not.");
        }

        return nn.functional.softmax(gaps / Kept(Temperature), 0).MoveToOuterDisposeScope();
    }
}
