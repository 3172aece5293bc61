using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>An inverse that treats the parameters as one vector.</summary>
/// <param name="layout">The order of the parameters.</param>
internal abstract class VectorInverse(ParameterVector layout) : Inverse
{
    protected ParameterVector Layout => layout;

    public override BatchGradients Apply(BatchGradients gradients) => Rows(gradients, () => Solve(layout.Flatten(gradients)));

    public override BatchGradients Outline(BatchGradients gradients) =>
        Rows(gradients, () => zeros([gradients.Count, layout.Length], gradients.Dtype, gradients.Device));

    /// <summary>The solutions <c>[B, P]</c> for right-hand sides <c>[B, P]</c>, in the current scope.</summary>
    public abstract Tensor Solve(Tensor gradients);

    private BatchGradients Rows(BatchGradients gradients, Func<Tensor> make)
    {
        var scope = NewDisposeScope();
        try
        {
            using var noGrad = no_grad();
            Tensor rows;
            using (NewDisposeScope())
            {
                rows = make().to_type(gradients.Dtype).MoveToOuterDisposeScope(); // [B, P]
            }

            return new BatchGradients(scope, gradients.Ids, gradients.Dtype, gradients.Device) { Blocks = layout.Blocks(rows) };
        }
        catch
        {
            scope.Dispose();
            throw;
        }
    }
}
