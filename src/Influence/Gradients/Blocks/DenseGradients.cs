using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Per-example gradients that have no cheaper form than themselves: gains and biases of norms, grouped convolutions,
/// parameters taken by single-example autograd.
/// </summary>
/// <param name="examples">B.</param>
/// <param name="make">The parts written out, <c>[B, P_k]</c>.</param>
/// <param name="byPosition">The same before the sum over positions, <c>[B, T, P_k]</c>, where the layer's positions are the examples'
/// own.</param>
/// <param name="positions">T; null without positions.</param>
internal sealed class DenseGradients(long examples, Func<Tensor[]> make, Func<Tensor[]>? byPosition = null, long? positions = null)
    : BlockGradients(examples)
{
    public override long? OwnPositions => positions;

    public override Tensor ByPosition(Tensor[] queries)
    {
        if (byPosition is null)
        {
            return base.ByPosition(queries);
        }

        using var scope = NewDisposeScope();
        var products = byPosition()
            .Zip(queries, (part, q) => q.mm(part.reshape(-1, part.shape[2]).t()).reshape(-1, Examples, part.shape[1]));
        return products.Aggregate((a, b) => a.add_(b)).MoveToOuterDisposeScope(); // [Q, B, T]
    }

    protected override Tensor[] MakeDense() => make();
}
