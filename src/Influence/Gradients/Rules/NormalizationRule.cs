using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Gradients;

/// <summary>
/// y = gain * xhat + bias with xhat the normalised input: gain gradient = sum over positions of d * xhat, bias gradient =
/// sum over positions of d. LayerNorm, GroupNorm, and BatchNorm: on its running statistics, or in training mode on those of the
/// rows that it saw together.
/// </summary>
internal sealed class NormalizationRule : LayerRule
{
    private readonly Func<LayerCall, Tensor> _normalize;
    private readonly int _trailing;

    public NormalizationRule(LayerNorm norm)
        : this(norm.normalized_shape, norm.eps) { }

    /// <summary>LayerNorm over the last dimensions.</summary>
    public NormalizationRule(long[] normalizedShape, double eps)
    {
        Name = "LayerNorm";
        _normalize = call => F.layer_norm(call.Activation, normalizedShape, eps: eps);
        _trailing = normalizedShape.Length;
    }

    public NormalizationRule(GroupNorm norm)
    {
        Name = "GroupNorm";
        _normalize = call => F.group_norm(call.Activation, norm.num_groups, eps: norm.eps);
    }

    public NormalizationRule(BatchNorm norm)
    {
        Name = "BatchNorm (eval)";
        _normalize = call =>
            call.IsTraining
                ? F.batch_norm(call.Activation, null, null, training: true, eps: norm.eps)
                : F.batch_norm(
                    call.Activation,
                    norm.running_mean?.to_type(call.Activation.dtype),
                    norm.running_var?.to_type(call.Activation.dtype),
                    eps: norm.eps
                );
    }

    public override string Name { get; }

    public override bool PositionsLead => _trailing == 1;

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias)
    {
        return new DenseGradients(
            calls[0].Examples,
            () => [.. Terms().Select(term => SumCalls(calls, call => Reduce(call, term(call))))],
            PositionsLead && calls.Count == 1 ? () => [.. Terms().Select(term => calls[0].ByPosition(term(calls[0])))] : null,
            PositionsLead && calls.Count == 1
                ? calls[0].OutputGradient.numel() / calls[0].Examples / calls[0].OutputGradient.shape[^1]
                : null
        );

        // What is summed over positions: d * xhat for the gain, d for the bias.
        IEnumerable<Func<LayerCall, Tensor>> Terms()
        {
            if (weight)
            {
                yield return call => _normalize(call).mul_(call.OutputGradient);
            }

            if (bias)
            {
                yield return call => call.OutputGradient;
            }
        }
    }

    /// <summary>Sums over every dimension but the example's and the gain's own, <c>[B, P]</c>.</summary>
    private Tensor Reduce(LayerCall call, Tensor product)
    {
        var shape = product.shape;
        if (_trailing > 0)
        {
            // LayerNorm: [B*k, ..., n1, n2], the gain spans the trailing dimensions.
            var size = shape[^_trailing..].Aggregate(1L, (a, b) => a * b);
            return product.reshape(call.Examples, -1, size).sum(1);
        }

        // GroupNorm, BatchNorm: [B*k, C, ...], the gain spans the channels.
        return product.reshape(shape[0], shape[1], -1).sum(2).reshape(call.Examples, -1, shape[1]).sum(1);
    }
}
