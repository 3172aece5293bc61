using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>sum over k of v_k w_k (v_k . g), plus c times what is orthogonal to every v_k.</summary>
/// <param name="layout">The order of the parameters.</param>
/// <param name="vectors">Orthonormal rows <c>[K, P]</c>; not owned.</param>
/// <param name="weights">w, one a row.</param>
/// <param name="elsewhere">c.</param>
/// <param name="damping">As it was asked for.</param>
/// <param name="report">For the metadata.</param>
internal sealed class LowRankInverse(
    ParameterVector layout,
    Tensor vectors,
    double[] weights,
    double elsewhere,
    double damping,
    string report
) : VectorInverse(layout)
{
    public override IReadOnlyList<(string Block, double Damping)> Dampings => [("all parameters", damping)];

    public override string? Report => report;

    public override Tensor Solve(Tensor gradients)
    {
        var factors = tensor(weights.Select(w => w - elsewhere).ToArray(), dtype: vectors.dtype, device: vectors.device);
        var solved = (gradients.mm(vectors.t()) * factors).mm(vectors); // [B, K] to [B, P]
        return elsewhere == 0 ? solved : solved.add_(gradients, Kept(elsewhere));
    }
}
