using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// (H + damping I)^-1 of one block. A score is the product of what <see cref="Apply"/> makes of the query's gradient with
/// what <see cref="Meet"/> makes of the training example's; both may live in the eigenbasis. Owns its tensors.
/// </summary>
internal abstract class BlockInverse : IDisposable
{
    /// <summary>Chooses the form of the products by counted operations; called once, before any other.</summary>
    /// <param name="sample">Gradients of a few queries, as captured.</param>
    /// <param name="plan">What is known of the run.</param>
    /// <param name="tolerance">The relative error that an approximation may make; 0 for none.</param>
    public virtual void Plan(BlockGradients sample, ScorePlan plan, double tolerance) { }

    /// <summary>The query's side, in the current scope.</summary>
    public abstract BlockGradients Apply(BlockGradients gradients);

    /// <summary>The training example's side, in the current scope.</summary>
    public virtual BlockGradients Meet(BlockGradients gradients) => gradients;

    /// <summary>(H + damping I)^-1 g written out in the parameters' own basis, one part a parameter, <c>[B, P_k]</c>.</summary>
    public abstract Tensor[] Dense(BlockGradients gradients);

    /// <summary>Adds the projection of (H + damping I)^-1 g of each example to its row.</summary>
    /// <param name="rows"><c>[B, K]</c>.</param>
    /// <param name="gradients">The gradients, as captured.</param>
    /// <param name="projections">One a part.</param>
    public virtual void AddProjected(Tensor rows, BlockGradients gradients, PartProjection[] projections)
    {
        var written = new DenseGradients(gradients.Examples, () => Dense(gradients));
        written.AddProjected(rows, projections);
        written.Release();
    }

    /// <summary>g' (H + damping I)^-1 g of each example, <c>[B]</c>.</summary>
    public abstract Tensor SelfProducts(BlockGradients gradients);

    /// <summary>The squared norm of (H + damping I)^-1 g of each example, <c>[B]</c>.</summary>
    public virtual Tensor SquaredNorms(BlockGradients gradients)
    {
        using var scope = NewDisposeScope();
        var total = zeros([gradients.Examples], gradients.Dense()[0].dtype, gradients.Dense()[0].device);
        foreach (var part in Dense(gradients))
        {
            total.add_(part.Squared().sum(1));
        }

        return total.MoveToOuterDisposeScope();
    }

    public abstract void Dispose();
}
