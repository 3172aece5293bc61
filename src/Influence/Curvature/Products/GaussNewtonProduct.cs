using Influence.Gradients;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// J' B J v, with z the model's outputs as the loss is given them, J their Jacobian, and B the loss's Hessian in z. Three
/// vector-Jacobian products: J v as the derivative of J' u, which is linear in u; B by double backward of the loss alone;
/// J' by backward. Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent", 2002.
/// </summary>
/// <remarks>Losses that a delegate evaluates several times add up, each with its own outputs; a factor on each is kept.</remarks>
internal sealed class GaussNewtonProduct(GradientSession session, ParameterVector layout) : CurvatureProduct(session, layout)
{
    public override string Name => "Gauss-Newton matrix";

    protected override Func<Tensor, Tensor>? Linearize(ExampleBatch batch, Parameter[] values)
    {
        using var trace = new LossTrace(null);
        var each = Session.Losses.Evaluate(batch, LossKind.Training); // [B]
        Check(trace.Losses);
        var used = Used(trace);
        if (used.Count == 0)
        {
            return null;
        }

        var weights = Weights(each, used);
        var outputs = used.Select(loss => loss.Outputs).ToList();
        var errors = used.Zip(weights, ErrorOf).ToList();
        var dummies = outputs.Select(z => zeros_like(z).requires_grad_(true)).ToList();
        var pulled = Layout.Gather( // [P], J' u
            GuardedBackward.Gradients(outputs, values, GraphAfter.Extended, dummies, batch.Ids)
        );
        return pulled.requires_grad ? Multiply : null;

        Tensor Multiply(Tensor v)
        {
            var pushed = GuardedBackward.Gradients([pulled], dummies, GraphAfter.Kept, [v], batch.Ids); // J v, like z
            var (reached, weighted) = (new List<Tensor>(), new List<Tensor>());
            for (var k = 0; k < outputs.Count; k++)
            {
                var (at, error) = errors[k];
                if (pushed[k] is not { } push || !error.requires_grad)
                {
                    continue;
                }

                if (GuardedBackward.Gradients([error], [at], GraphAfter.Kept, [push], batch.Ids)[0] is { } b) // B J v, like z
                {
                    reached.Add(outputs[k]);
                    weighted.Add(b);
                }
            }

            return reached.Count == 0
                ? zeros_like(v)
                : Layout.Gather(GuardedBackward.Gradients(reached, values, GraphAfter.Kept, weighted, batch.Ids));
        }
    }

    private static List<TracedLoss> Used(LossTrace trace) =>
        [.. trace.Losses.Where(loss => loss.Outputs.requires_grad && loss.Value.requires_grad)];

    /// <summary>The factors that the delegate puts on the values of its losses, in the values' shape.</summary>
    private static List<Tensor> Weights(Tensor each, List<TracedLoss> used)
    {
        var weights = GuardedBackward
            .Gradients([each.sum()], used.Select(loss => loss.Value), GraphAfter.Kept)
            .Zip(used, (weight, loss) => weight ?? zeros_like(loss.Value.detach()))
            .ToList();
        var total = each.detach().to_type(ScalarType.Float64).sum().item<double>();
        var made = used.Zip(weights, (loss, weight) => (loss.Value.detach() * weight).to_type(ScalarType.Float64).sum().item<double>())
            .Sum();
        var room = each.dtype == ScalarType.Float64 ? 1e-8 : 1e-4;
        if (Math.Abs(total - made) > room * (1e-3 + Math.Abs(total) + Math.Abs(made)))
        {
            throw new InfluenceException(
                $"TrainingLoss is more than a weighted sum of Losses.*: they make up {made:G5} of {total:G5} on a batch, and the "
                    + "Gauss-Newton matrix knows nothing of the rest. "
                    + "Leave a weight-decay term out of the delegate and add its factor to the damping, or ask for CurvatureMatrix.Hessian."
            );
        }

        return weights;
    }

    /// <summary>The loss's gradient in the outputs, with a graph back to them, apart from the model.</summary>
    private static (Tensor At, Tensor Error) ErrorOf(TracedLoss loss, Tensor weight)
    {
        var at = loss.Outputs.detach().requires_grad_(true); // like z
        var total = (loss.Loss(at) * weight).sum();
        return (at, GuardedBackward.Gradients([total], [at], GraphAfter.Extended)[0] ?? zeros_like(at));
    }

    private static void Check(IReadOnlyList<TracedLoss> losses)
    {
        if (losses.Count == 0)
        {
            throw new InfluenceException(
                "The Gauss-Newton matrix needs to know the model's outputs, but TrainingLoss calls none of Losses.CrossEntropy, "
                    + "BinaryCrossEntropy and SquaredError, which tell. Write the loss with one of these, or ask for "
                    + "CurvatureMatrix.Hessian."
            );
        }

        if (losses.Any(loss => loss.Outputs.IsInvalid || loss.Value.IsInvalid))
        {
            throw new InfluenceException(
                "TrainingLoss disposes the model's outputs, which the Gauss-Newton matrix is taken of. Leave dispose scopes out of the "
                    + "delegate: the library disposes what it makes."
            );
        }
    }
}
