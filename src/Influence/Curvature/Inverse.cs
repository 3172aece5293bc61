using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>(H + damping I)^-1 at one damping. It may own tensors; the preconditioner that made it outlives it.</summary>
internal abstract class Inverse : IDisposable
{
    /// <summary>
    /// (H + damping I)^-1 g for every example of a batch, block by block in the order of the session's, in whatever form is
    /// cheapest to multiply with. The caller disposes the result; the batch stays the caller's.
    /// </summary>
    public abstract BatchGradients Apply(BatchGradients gradients);

    /// <summary>g' (H + damping I)^-1 g of each example, <c>[B]</c>, in the current scope.</summary>
    public virtual Tensor SelfProducts(BatchGradients gradients)
    {
        using var scope = NewDisposeScope();
        using var preconditioned = Apply(gradients);
        var total = zeros([gradients.Count], gradients.Dtype, gradients.Device);
        for (var k = 0; k < gradients.Blocks.Count; k++)
        {
            if (gradients.Blocks[k] is { } own && preconditioned.Blocks[k] is { } other)
            {
                foreach (var (a, b) in own.Dense().Zip(other.Dense()))
                {
                    total.add_((a * b).sum(1));
                }

                own.Release();
                other.Release();
            }
        }

        return total.MoveToOuterDisposeScope();
    }

    /// <summary>The damping of each block, by name, where blocks are damped on their own; else one entry.</summary>
    public virtual IReadOnlyList<(string Block, double Damping)> Dampings => [];

    /// <summary>How far a solver came, in words for the metadata; null where nothing was iterated.</summary>
    public virtual string? Report => null;

    public virtual void Dispose()
    {
    }
}
