using Influence.Gradients;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>H v by double backward: the gradient of (gradient . v). Pearlmutter, "Fast Exact Multiplication by the Hessian",
/// 1994.</summary>
internal sealed class HessianProduct(GradientSession session, ParameterVector layout) : CurvatureProduct(session, layout)
{
    public override string Name => "Hessian";

    protected override Func<Tensor, Tensor>? Linearize(ExampleBatch batch, Parameter[] values)
    {
        var total = Session.Losses.Evaluate(batch, LossKind.Training).sum();
        if (!total.requires_grad)
        {
            return null;
        }

        var gradient = Layout.Gather(GuardedBackward.Gradients([total], values, GraphAfter.Extended, ids: batch.Ids)); // [P]

        // A loss that is linear in the parameters has a gradient without a graph.
        return gradient.requires_grad
            ? v => Layout.Gather(GuardedBackward.Gradients([gradient], values, GraphAfter.Kept, [v], batch.Ids))
            : null;
    }
}
