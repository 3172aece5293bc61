using System.Collections.Concurrent;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// How one type of layer turns its input and its output's gradient into per-example parameter gradients. Stateless: it
/// reads the layer's settings and nothing else. Letters: B examples, T positions, I inputs, O outputs.
/// </summary>
internal abstract class LayerRule
{
    private static readonly ConcurrentDictionary<Type, Func<nn.Module, LayerRule>> s_registered = new();

    /// <summary>The layer type's name, for the coverage report.</summary>
    public abstract string Name { get; }

    /// <summary>Whether positions come right after the examples, <c>[B, T, n]</c>, so that a position mask can be laid on.</summary>
    public virtual bool PositionsLead => false;

    /// <summary>Whether weight and bias are never asked for together: the bias is a block of its own.</summary>
    public virtual bool BiasApart => false;

    /// <summary>
    /// The gradients of the layer's own parameters, summed over the calls of the layer.
    /// </summary>
    /// <param name="calls">Every call of the layer in this batch.</param>
    /// <param name="weight">The weight takes part.</param>
    /// <param name="bias">The bias takes part.</param>
    public abstract BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias);

    /// <summary>
    /// Gradients that were found without the layer's rows, in the form that those of <see cref="Gradients"/> have, so that products
    /// with them go the same way.
    /// </summary>
    /// <param name="examples">B.</param>
    /// <param name="parts">The gradients written out, weight first, <c>[B, P_k]</c>.</param>
    /// <param name="weight">The weight takes part.</param>
    /// <param name="bias">The bias takes part.</param>
    /// <param name="inputs">I: the elements of the weight for each output.</param>
    public virtual BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs) =>
        new DenseGradients(examples, () => Aliases(parts)) { IsSubstitute = true };

    /// <summary>
    /// The rule for a layer; null where there is none, and with a reason where the layer's settings are beyond the rule.
    /// </summary>
    public static LayerRule? For(nn.Module module, out string? reason)
    {
        reason = null;
        if (Registered(module) is { } registered)
        {
            return registered;
        }

        return module switch
        {
            Linear => LinearRule.Instance,
            Bilinear => LinearRule.Bilinear,
            TransposedLinear => TransposedRule.Linear,
            Conv1d conv => ConvolutionRule.For(conv, 1, out reason),
            Conv2d conv => ConvolutionRule.For(conv, 2, out reason),
            Conv3d conv => ConvolutionRule.For(conv, 3, out reason),
            ConvTranspose1d conv => TransposedRule.For(conv, 1, out reason),
            ConvTranspose2d conv => TransposedRule.For(conv, 2, out reason),
            ConvTranspose3d conv => TransposedRule.For(conv, 3, out reason),
            Embedding embedding => EmbeddingRule.For(embedding, out reason),
            EmbeddingBag bag => EmbeddingBagRule.For(bag, out reason),
            PReLU activation => new PReluRule(activation.num_parameters),
            LayerNorm norm => new NormalizationRule(norm),
            GroupNorm norm => new NormalizationRule(norm),
            BatchNorm norm => new NormalizationRule(norm),
            _ => null,
        };
    }

    /// <summary>From now on, in this process, layers of the type and of types derived from it are taken by such rules.</summary>
    public static void Register(Type layer, Func<nn.Module, LayerRule> rule) => s_registered[layer] = rule;

    private static LayerRule? Registered(nn.Module module)
    {
        for (var type = module.GetType(); type is not null && !s_registered.IsEmpty; type = type.BaseType)
        {
            if (s_registered.TryGetValue(type, out var rule))
            {
                return rule(module);
            }
        }

        return null;
    }

    /// <summary>The sum over the calls, <c>[B, P]</c>.</summary>
    /// <param name="calls">The calls.</param>
    /// <param name="part">What each gives, <c>[B, P]</c>, or <c>[B*k, ...]</c> with rows that are summed here.</param>
    protected static Tensor SumCalls(IReadOnlyList<LayerCall> calls, Func<LayerCall, Tensor> part)
    {
        Tensor? total = null;
        foreach (var call in calls)
        {
            var rows = part(call);
            var own = rows.shape[0] == call.Examples ? rows : rows.reshape(call.Examples, call.RowsPerExample, -1).sum(1);
            total = total is null ? own : total.add_(own);
        }

        return total!;
    }

    /// <summary>The positions of a call that count, <c>[B, T]</c>.</summary>
    protected static Tensor PositionsOf(LayerCall call) =>
        call.Mask
        ?? ones(
            [call.Examples, call.OutputGradient.numel() / call.OutputGradient.shape[^1] / call.Examples],
            ScalarType.Bool,
            call.OutputGradient.device
        );

    /// <summary>Several calls of one layer are so many more positions: <c>[B, T1 + T2 + ..., n]</c>.</summary>
    protected static Tensor JoinPositions(IReadOnlyList<LayerCall> calls, Func<LayerCall, Tensor> part) =>
        calls.Count == 1 ? part(calls[0]) : cat([.. calls.Select(part)], 1);

    /// <summary>Handles of their own, for what is released and asked for again.</summary>
    protected static Tensor[] Aliases(Tensor[] parts) => [.. parts.Select(part => part.alias())];

    /// <summary>
    /// a <c>[..., T, I]</c> and d <c>[..., T, O]</c> with the sum of d_t a_t' = G and the sum of d_t = b: each row of G comes once at
    /// its output with a half, and once negated with minus a half, so that nothing but b is left of d.
    /// </summary>
    /// <param name="weight">G, <c>[..., O, I]</c>.</param>
    /// <param name="bias">b, <c>[..., O]</c>; null without a bias: each row of G then comes once.</param>
    protected static (Tensor Activation, Tensor OutputGradient) Factored(Tensor weight, Tensor? bias)
    {
        var outputs = weight.shape[^2];
        var one = eye(outputs, outputs, weight.dtype, weight.device).expand([.. weight.shape[..^1], outputs]); // [..., O, O]
        return bias is null
            ? (weight, one)
            : (
                cat([weight, -weight, zeros_like(weight.narrow(-2, 0, 1))], -2),
                cat([one * Kept(0.5), one * Kept(-0.5), bias.unsqueeze(-2)], -2)
            );
    }
}
