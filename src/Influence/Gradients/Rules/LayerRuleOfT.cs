using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Says how gradients of single examples follow from what a layer saw, for a type of layer of your own. Without a rule its parameters
/// are taken by a backward pass for each example, which is as exact and slow.
/// </summary>
/// <remarks>
/// <para>
/// With d the gradient of the losses with respect to the output and y = f(a; w), the gradient of an example is the sum over its
/// positions of (dy/dw)' d. A rule reads the layer's settings and the trace and nothing else, and it is registered once:
/// <c>new RmsNormRule().Register();</c>. Every call holds it against plain autograd on two examples before it trusts it, so that a
/// rule that is wrong is refused and not believed.
/// </para>
/// <para>
/// The layer's parameters are named <c>weight</c> and <c>bias</c>, and it is called by <c>call</c>. Others of its parameters take part by
/// single examples. Cost: what the methods do, and the gradients written out, [B, P] numbers of a layer at a time.
/// </para>
/// </remarks>
/// <typeparam name="TLayer">The type of the layer; types derived from it go by the same rule.</typeparam>
/// <example>
/// <code>
/// public sealed class ScaleRule : LayerRule&lt;Scale&gt;                     // y = w * a, w [I]
/// {
///     public override Tensor WeightGradients(Scale layer, LayerTrace trace) =>
///         (trace.Activation * trace.OutputGradient).reshape(trace.Rows, -1, layer.weight.shape[0]).sum(1);
/// }
/// </code>
/// </example>
public abstract class LayerRule<TLayer>
    where TLayer : nn.Module<Tensor, Tensor>
{
    /// <summary>The layer type's name, for the coverage report.</summary>
    /// <value>The name of <typeparamref name="TLayer"/>.</value>
    public virtual string Name => typeof(TLayer).Name;

    /// <summary>Whether activations are <c>[B, T, n]</c> with positions right after the examples, so that a task's position mask can be
    /// laid on.</summary>
    /// <value>False.</value>
    public virtual bool PositionsLead => false;

    /// <summary>The gradients of the weight for one call of the layer.</summary>
    /// <param name="layer">The layer; only its settings are read.</param>
    /// <param name="trace">What the call left behind.</param>
    /// <returns><c>[rows, ...]</c>, each row of the weight's shape or flattened; rows of one example are summed by the caller. In the
    /// current scope.</returns>
    public abstract Tensor WeightGradients(TLayer layer, LayerTrace trace);

    /// <summary>The gradients of the bias for one call of the layer, where it has one.</summary>
    /// <param name="layer">The layer; only its settings are read.</param>
    /// <param name="trace">What the call left behind.</param>
    /// <returns>
    /// <c>[rows, ...]</c>, as of the weight. By default the bias is added to the output's last dimension, and its gradient is d summed over
    /// all dimensions between.
    /// </returns>
    public virtual Tensor BiasGradients(TLayer layer, LayerTrace trace)
    {
        ArgumentNullException.ThrowIfNull(trace);
        return trace.OutputGradient.reshape(trace.Rows, -1, trace.OutputGradient.shape[^1]).sum(1);
    }

    /// <summary>Uses the rule for all layers of the type from now on, in this process; in place of an earlier one.</summary>
    public void Register() => LayerRule.Register(typeof(TLayer), module => new Adapter(this, (TLayer)module));

    private sealed class Adapter(LayerRule<TLayer> rule, TLayer layer) : LayerRule
    {
        public override string Name => rule.Name;

        public override bool PositionsLead => rule.PositionsLead;

        public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias) =>
            new DenseGradients(
                calls[0].Examples,
                () =>
                    [
                        .. weight
                            ? [SumCalls(calls, call => Flat(rule.WeightGradients(layer, new LayerTrace(call)), call, "weight"))]
                            : Array.Empty<Tensor>(),
                        .. bias
                            ? [SumCalls(calls, call => Flat(rule.BiasGradients(layer, new LayerTrace(call)), call, "bias"))]
                            : Array.Empty<Tensor>(),
                    ]
            );

        /// <summary>One row for each of the trace's, <c>[B*k, P]</c>.</summary>
        private Tensor Flat(Tensor gradients, LayerCall call, string parameter)
        {
            var rows = call.OutputGradient.shape[0];
            using var value = layer.get_parameter(parameter)!.detach();
            return gradients.dim() > 0 && gradients.shape[0] == rows && gradients.numel() == rows * value.numel()
                ? gradients.reshape(rows, -1)
                : throw new InfluenceException(
                    $"The rule {rule.GetType().Name} gave gradients of the {parameter} of shape "
                        + $"[{string.Join(", ", gradients.shape)}]; expected a row for each of the trace's {rows} rows, of the "
                        + $"parameter's shape: [{rows}, {string.Join(", ", value.shape)}]."
                );
        }
    }
}
