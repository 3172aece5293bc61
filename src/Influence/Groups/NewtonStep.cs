using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// The Newton step on re-weighted data, with its curvature as a matrix.
/// <code>step = (H + damping I + r (H - H_group))^-1 g</code>
/// with g the negative gradient of the re-weighted objective.
/// </summary>
internal sealed class NewtonStep(DenseCurvature dense, CurvatureProduct product, double damping)
{
    /// <param name="multiply">The product of the group's mean curvature with rows <c>[K, P]</c>.</param>
    /// <param name="gradient">g, <c>[P]</c>.</param>
    /// <param name="change">r.</param>
    /// <returns><c>[P]</c>, in the gradient's dtype and the current scope.</returns>
    public Tensor Of(Func<Tensor, Tensor> multiply, Tensor gradient, double change)
    {
        using var scope = NewDisposeScope();
        var own = DenseCurvature.Form(product.Layout, multiply); // [P, P]
        var (values, vectors) = linalg.eigh((dense.Matrix * Kept(1 + change)) - (own * Kept(change))); // [P], [P, P]
        var inverted = DenseCurvature.Inverted(
            values.cpu().data<double>().ToArray(),
            damping,
            product.Layout.Dtype,
            $"{product.Name} of the re-weighted data"
        );
        var coefficients = vectors.t().mv(gradient.to_type(ScalarType.Float64)) * tensor(inverted, device: gradient.device); // [P]
        return vectors.mv(coefficients).to_type(gradient.dtype).MoveToOuterDisposeScope();
    }
}
