using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Per-example gradients that have no cheaper form than themselves: gains and biases of norms, grouped convolutions,
/// parameters taken by single-example autograd.
/// </summary>
internal sealed class DenseGradients(long examples, Func<Tensor[]> make) : BlockGradients(examples)
{
    public override Tensor SquaredNorms() => SquaredNorms(Dense());

    protected override Tensor[] MakeDense() => make();
}
