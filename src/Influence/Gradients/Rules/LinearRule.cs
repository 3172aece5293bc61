using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>y = W a + b at every position: G = sum over t of d_t a_t', bias gradient = sum over t of d_t.</summary>
internal sealed class LinearRule : LayerRule
{
    private LinearRule(string name) => Name = name;

    public static LinearRule Instance { get; } = new("Linear");

    /// <summary>y_o = x1' W_o x2 + b_o: linear in the products of the inputs, which are the layer's activation, <c>[B, T,
    /// I1*I2]</c>.</summary>
    public static LinearRule Bilinear { get; } = new("Bilinear");

    public override string Name { get; }

    public override bool PositionsLead => true;

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias) =>
        new FactoredGradients(
            () => JoinPositions(calls, call => call.ByPosition(call.Activation)), // [B, T, I]
            JoinPositions(calls, call => call.ByPosition(call.OutputGradient)), // [B, T, O]
            calls[0].Activation.shape[^1],
            weight,
            bias
        )
        {
            Mask = calls.All(call => call.Mask is null) ? null : JoinPositions(calls, PositionsOf),
            PositionsLead = calls.Count == 1,
            InputKey = calls.Count == 1 && !calls[0].IsTransposed ? Identity(calls[0].Activation) : null,
            IsTransposed = calls[0].IsTransposed,
        };

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs)
    {
        if (!weight)
        {
            var d = parts[0].unsqueeze(1); // [B, 1, O]
            return new FactoredGradients(() => zeros([examples, 1, inputs], d.dtype, d.device), d, inputs, weight, bias)
            {
                IsSubstitute = true,
            };
        }

        var (a, outputGradient) = Factored(parts[0].reshape(examples, -1, inputs), bias ? parts[1] : null);
        return new FactoredGradients(() => a.alias(), outputGradient, inputs, weight, bias, () => parts[0].alias()) { IsSubstitute = true };
    }

    /// <summary>Equal for two views of the same numbers; the batch keeps both alive, so that memory is not used twice.</summary>
    private static string Identity(Tensor tensor)
    {
        var address = tensor.dtype == ScalarType.Float64 ? tensor.storage<double>().data_ptr() : tensor.storage<float>().data_ptr();
        return $"{address}+{tensor.storage_offset()} [{string.Join(", ", tensor.shape)}] [{string.Join(", ", tensor.stride())}]";
    }
}
