using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// A layer whose weight has its inputs in rows: y = W' a + b with W <c>[I, O]</c>, and transposed convolutions. The gradient of W is
/// that of the ordinary layer from the outputs' side to the inputs', with a and d in each other's places: sum over t of a_t d_t', where
/// for a convolution t goes over the input's positions and d_t is the patch of the output's gradient that the position wrote to. The
/// bias belongs to outputs, not to rows, and is a block of its own: for K-FAC and EK-FAC the weight's curvature is a Kronecker product
/// as of an ordinary layer without a bias, and the bias's is diagonal.
/// </summary>
internal sealed class TransposedRule : LayerRule
{
    private readonly LayerRule _ordinary;

    private TransposedRule(string name, LayerRule ordinary)
    {
        Name = name;
        _ordinary = ordinary;
    }

    public static TransposedRule Linear { get; } = new(nameof(TransposedLinear), LinearRule.Instance);

    public override string Name { get; }

    public override bool PositionsLead => _ordinary.PositionsLead;

    public override bool BiasApart => true;

    /// <summary>For a transposed convolution; its output padding adds positions that no patch of the output's gradient starts
    /// from.</summary>
    public static TransposedRule? For(ConvolutionTranspose conv, int dimensions, out string? reason) =>
        ConvolutionRule.For(conv, dimensions, out reason) is { } ordinary
            ? new TransposedRule($"ConvTranspose{dimensions}d", ordinary)
            : null;

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias)
    {
        if (weight)
        {
            return _ordinary.Gradients([.. calls.Select(Transposed)], weight: true, bias: false);
        }

        // Channels come right after the rows in a convolution, and last in a linear layer.
        return PositionsLead
            ? new DenseGradients(
                calls[0].Examples,
                () => [SumCalls(calls, call => call.ByPosition(call.OutputGradient).sum(1))],
                calls.Count == 1 ? () => [calls[0].ByPosition(calls[0].OutputGradient)] : null,
                calls.Count == 1 ? calls[0].OutputGradient.numel() / calls[0].Examples / calls[0].OutputGradient.shape[^1] : null
            )
            : new DenseGradients(calls[0].Examples, () => [SumCalls(calls, call => call.OutputGradient.flatten(2).sum(2))]);
    }

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs) =>
        weight
            ? _ordinary.Substitute(examples, parts, weight: true, bias: false, inputs)
            : base.Substitute(examples, parts, weight, bias, inputs);

    /// <summary>Where positions do not count, what came back is zero already, and the covariance of a is not to see them either.</summary>
    private static LayerCall Transposed(LayerCall call)
    {
        var a = call.Activation;
        if (call.Mask is { } mask)
        {
            a = (call.ByPosition(a) * mask.unsqueeze(-1).to_type(a.dtype)).reshape(a.shape);
        }

        return call with
        {
            Activation = call.OutputGradient,
            OutputGradient = a,
            IsTransposed = true,
        };
    }
}
