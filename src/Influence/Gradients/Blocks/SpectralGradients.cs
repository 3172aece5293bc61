using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Queries in an eigenbasis, as factors that are yet to be weighted: a product with training gradients in the same basis never
/// builds anything of a weight's size.
/// </summary>
/// <param name="rotated">The factors in the eigenbasis.</param>
/// <param name="weights">The weights; not owned.</param>
internal sealed class SpectralGradients(FactoredGradients rotated, SpectralWeights weights) : BlockGradients(rotated.Examples)
{
    public override Contraction? OwnContraction => Contraction.Spectral;

    public override QueryFactors FactorsFor(Contraction contraction) =>
        new(rotated.Activation.clone(), rotated.OutputGradient.clone(), weights);

    public override double NumbersKept(Contraction contraction) => rotated.NumbersKept(Contraction.Ghost);

    public override void Release()
    {
        base.Release();
        rotated.Release();
    }

    protected override Tensor[] MakeDense() =>
        [(rotated.Dense()[0].reshape(Examples, weights.Weights.shape[0], -1) * weights.Weights).reshape(Examples, -1)];
}
