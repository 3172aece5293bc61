using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The inner product in which gradients are compared, q' M z with M symmetric. A score is the product of what
/// <see cref="Apply"/> makes of a query's gradient with what <see cref="Meet"/> makes of a training example's. This one is the
/// plain dot product, M = I.
/// </summary>
internal class GradientMetric : IDisposable
{
    /// <summary>The plain dot product.</summary>
    public static GradientMetric Euclidean { get; } = new();

    /// <summary>Whether M = I: then products need neither <see cref="Apply"/> nor <see cref="Meet"/>.</summary>
    public virtual bool IsEuclidean => GetType() == typeof(GradientMetric);

    /// <summary>Chooses the form of the products; called once, before <see cref="Apply"/> and <see cref="Meet"/>.</summary>
    /// <param name="sample">Gradients of a few queries, as captured.</param>
    /// <param name="plan">What is known of the run.</param>
    public virtual void Plan(BatchGradients sample, ScorePlan plan) { }

    /// <summary>
    /// M g for every example of a batch, block by block in the order of the session's, in whatever form and
    /// basis is cheapest to multiply with. The caller disposes the result before the batch; the batch stays the caller's.
    /// </summary>
    public virtual BatchGradients Apply(BatchGradients gradients) => Meet(gradients);

    /// <summary>
    /// Something of the form that <see cref="Apply"/> gives, to plan with; its values do not count. Overridden where applying
    /// takes long.
    /// </summary>
    public virtual BatchGradients Outline(BatchGradients gradients) => Apply(gradients);

    /// <summary>Training gradients in the basis of <see cref="Apply"/>'s result. The caller disposes the result before the batch.</summary>
    public virtual BatchGradients Meet(BatchGradients gradients) =>
        new(NewDisposeScope(), gradients.Ids, gradients.Dtype, gradients.Device) { Blocks = gradients.Blocks };

    /// <summary>
    /// M g written out in the parameters' own basis and layout, exactly; for every block of the session
    /// that the batch used. The caller disposes the result before the batch.
    /// </summary>
    public virtual BatchGradients Written(BatchGradients gradients) => Apply(gradients);

    /// <summary>g' M g of each example, <c>[B]</c>, in the current scope.</summary>
    public virtual Tensor SelfProducts(BatchGradients gradients)
    {
        if (IsEuclidean)
        {
            return gradients.SquaredNorms();
        }

        using var scope = NewDisposeScope();
        var total = zeros([gradients.Count], gradients.Dtype, gradients.Device);
        using var preconditioned = Written(gradients);
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

    /// <summary>The squared norm of M g of each example, <c>[B]</c>, in the current scope.</summary>
    public virtual Tensor SquaredNorms(BatchGradients gradients)
    {
        using var scope = NewDisposeScope();
        var total = zeros([gradients.Count], gradients.Dtype, gradients.Device);
        using var preconditioned = Written(gradients);
        return total.add_(preconditioned.SquaredNorms()).MoveToOuterDisposeScope();
    }

    public virtual void Dispose() { }
}
