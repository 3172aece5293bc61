using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Products of the Hessian of a batch's mean loss with a direction in the parameters that rules cover: the gradient of
/// (gradient . v), at the model's present weights. Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994.
/// </summary>
/// <param name="session">A session opened for training.</param>
internal sealed class LossHessian(TrainingSession session)
{
    /// <summary>H v by block one part a parameter, <c>[P_k]</c>, in the current scope; null where the loss is linear in a
    /// parameter.</summary>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <param name="direction">v, likewise; null where it is zero.</param>
    public Tensor[]?[] Product(ExampleBatch batch, LossKind kind, IReadOnlyList<Tensor[]?> direction)
    {
        using var scope = NewDisposeScope();
        using var grad = enable_grad();
        using var evaluation = new EvaluationMode(session.Task.Model);
        Tensor[] values = [.. session.Blocks.SelectMany(block => block.Parts).Select(part => (Tensor)part.Parameter.Value)];
        var gradients = Gradient();
        var along = new List<Tensor>();
        foreach (var ((gradient, value), v) in gradients.Zip(values).Zip(Flat(direction)))
        {
            if (v is not null && gradient is { requires_grad: true })
            {
                along.Add((gradient * v.reshape(value.shape)).sum());
            }
        }

        var products =
            along.Count > 0
                ? TwiceDifferentiable.Gradients(
                    stack([.. along], 0).sum(),
                    values,
                    batch.Ids,
                    "second-order values need",
                    "ask for first order"
                )
                : new Tensor?[values.Length];
        using var noGrad = no_grad();
        var at = 0;
        Tensor[]?[] result =
        [
            .. session.Blocks.Select(block =>
                block.Parts.Select(part => products[at++] ?? zeros([part.Count], session.Dtype, session.Device)).ToArray()
            ),
        ];
        scope.MoveToOuter(result.OfType<Tensor[]>().SelectMany(parts => parts));
        return result;

        Tensor?[] Gradient()
        {
            var loss = session.Losses.Evaluate(batch, kind).mean();
            return loss.requires_grad
                ? [.. GuardedBackward.Gradients([loss], values, GraphAfter.Extended, ids: batch.Ids).Select(g => g.Strided())]
                : new Tensor?[values.Length];
        }
    }

    private IEnumerable<Tensor?> Flat(IReadOnlyList<Tensor[]?> direction) =>
        session.Blocks.SelectMany((block, k) => block.Parts.Select((_, p) => direction[k]?[p]));
}
