using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>y = W a + b at every position: G = sum over t of d_t a_t', bias gradient = sum over t of d_t.</summary>
internal sealed class LinearRule : LayerRule
{
    public static LinearRule Instance { get; } = new();

    public override string Name => "Linear";

    public override bool PositionsLead => true;

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias) =>
        new FactoredGradients(
            () => JoinPositions(calls, call => call.ByPosition(call.Activation)),       // [B, T, I]
            JoinPositions(calls, call => call.ByPosition(call.OutputGradient)),         // [B, T, O]
            calls[0].Activation.shape[^1],
            weight,
            bias);
}
