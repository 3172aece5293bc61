using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>y = x where x is positive and w x elsewhere: the gradient of w is the sum of d * min(x, 0), over everything or channel by
/// channel.</summary>
/// <param name="slopes">1, or the number of channels.</param>
internal sealed class PReluRule(long slopes) : LayerRule
{
    public override string Name => "PReLU";

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias) =>
        new DenseGradients(
            calls[0].Examples,
            () =>
                [
                    SumCalls(
                        calls,
                        call =>
                            (call.Activation.clamp(max: Kept(0)) * call.OutputGradient)
                                .reshape(call.OutputGradient.shape[0], slopes, -1)
                                .sum(2)
                    ),
                ]
        );
}
