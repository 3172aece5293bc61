using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The per-example gradients of one block of parameters (a layer's weight with its bias, say) for one batch, in the form
/// that the layer allows. Its tensors live in the batch's dispose scope.
/// </summary>
internal abstract class BlockGradients(long examples)
{
    private Tensor[]? _dense;

    /// <summary>The number of examples, B.</summary>
    public long Examples { get; } = examples;

    /// <summary>
    /// Whether the gradients are those of single examples, in the form that the layer's own have: products with them are right, but
    /// their factors are not what the layer saw.
    /// </summary>
    public bool IsSubstitute { get; init; }

    /// <summary>
    /// The gradients written out, one part a parameter: <c>[B, P_k]</c> in the parameter's row-major order. Made once.
    /// </summary>
    public Tensor[] Dense() => _dense ??= MakeDense();

    /// <summary>The squared L2 norm of each example's gradient, <c>[B]</c>.</summary>
    public abstract Tensor SquaredNorms();

    /// <summary>The number of positions that the gradient is a sum over, where they are the examples' own; else null.</summary>
    public virtual long? OwnPositions => null;

    /// <summary>
    /// The products with written-out queries, position by position, <c>[Q, B, T]</c>; they sum to the whole product. Only where
    /// <see cref="OwnPositions"/> is known.
    /// </summary>
    /// <param name="queries">One part a parameter, <c>[Q, P_k]</c>.</param>
    public virtual Tensor ByPosition(Tensor[] queries) =>
        throw new NotSupportedException("This block is not a sum over the examples' positions.");

    /// <summary>Drops everything that was made and kept; it is made anew when it is asked for again.</summary>
    public virtual void Release()
    {
        foreach (var part in _dense ?? [])
        {
            part.Dispose();
        }

        _dense = null;
    }

    protected abstract Tensor[] MakeDense();

    /// <summary>Squared norms of the rows of all parts, <c>[B]</c>, without a temporary of their size.</summary>
    public static Tensor SquaredNorms(Tensor[] dense)
    {
        var total = RowNorms(dense[0]);
        for (var k = 1; k < dense.Length; k++)
        {
            total.add_(RowNorms(dense[k]));
        }

        return total;

        static Tensor RowNorms(Tensor rows) => linalg.vector_norm(rows, 2, [1]).pow_(2);
    }
}
