using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Gradients of parameters that no layer rule covers: one forward and backward pass for each example. Exact for anything
/// that autograd can differentiate, and as slow as it sounds.
/// </summary>
/// <param name="parameters">The parameters.</param>
/// <param name="losses">The task's losses.</param>
/// <param name="apart">Parameters for which this differs are put into blocks of their own; null: one block.</param>
internal sealed class SingleExampleGradients(
    IReadOnlyList<ModelParameter> parameters,
    LossEvaluator losses,
    Func<ModelParameter, object>? apart = null
)
{
    // Tied parameters are one tensor: it is differentiated once.
    private readonly List<List<ModelParameter>> _blocks =
    [
        .. parameters.DistinctBy(p => p.Storage).GroupBy(p => apart?.Invoke(p)).Select(g => g.ToList()),
    ];

    private readonly List<ModelParameter> _parameters =
    [
        .. parameters.DistinctBy(p => p.Storage).GroupBy(p => apart?.Invoke(p)).SelectMany(g => g),
    ];

    /// <summary>The parameters block by block: all in one unless they are kept apart, and no block where there are none.</summary>
    public IReadOnlyList<IReadOnlyList<ModelParameter>> Blocks => _blocks;

    /// <summary>Blocks with a part <c>[B, P_k]</c> for each parameter.</summary>
    public IEnumerable<BlockGradients?> Capture(ExampleBatch batch, LossKind kind)
    {
        if (_parameters.Count == 0)
        {
            return [];
        }

        // Aliases: what is released is asked for again, and no pass is run twice.
        var rows = Rows(batch, kind);
        var first = 0;
        return
        [
            .. _blocks.Select(block =>
            {
                var own = rows[first..(first += block.Count)];
                return new DenseGradients(batch.Count, () => [.. own.Select(r => r.alias())]);
            }),
        ];
    }

    /// <summary>Every example's gradient, <c>[B, P_k]</c> for each parameter.</summary>
    public Tensor[] Rows(ExampleBatch batch, LossKind kind)
    {
        var rows = _parameters.Select(p => zeros([batch.Count, p.Count], HalfPrecision.Wide(p.Value.dtype), p.Value.device)).ToArray();
        for (var i = 0; i < batch.Count; i++)
        {
            using var scope = NewDisposeScope();
            var gradients = Of(batch.Pick([i]), kind);
            for (var k = 0; k < rows.Length; k++)
            {
                if (gradients[k] is { } gradient)
                {
                    rows[k].select(0, i).copy_(gradient.reshape(-1));
                }
            }
        }

        return rows;
    }

    /// <summary>The gradients of the summed loss by plain autograd, one per distinct parameter; null where unused.</summary>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <param name="among">Optional: only the loss of the example at this position.</param>
    public IReadOnlyList<Tensor?> Of(ExampleBatch batch, LossKind kind, int? among = null)
    {
        using var grad = enable_grad();
        var values = _parameters.Select(p => (Tensor)p.Value).ToList();
        using var unfrozen = RequiresGrad.On(values);
        var each = losses.Evaluate(batch, kind);
        var total = among is { } position ? each.select(0, position) : each.sum();
        if (!total.requires_grad)
        {
            return new Tensor?[values.Count];
        }

        var gradients = GuardedBackward.Gradients([total], values, ids: among is { } one ? [batch.Ids[one]] : batch.Ids);
        return [.. gradients.Select(g => g.Strided())];
    }

    /// <summary>The parameters in the order of <see cref="Of"/>.</summary>
    public IReadOnlyList<ModelParameter> Parameters => _parameters;
}
