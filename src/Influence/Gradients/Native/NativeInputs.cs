using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What a native attention module was given, sequence first.</summary>
/// <param name="Query"><c>[T, B, E]</c>.</param>
/// <param name="Key"><c>[S, B, K]</c>; the query itself in self-attention, so that taps see one tensor.</param>
/// <param name="Value"><c>[S, B, V]</c>; the query itself in self-attention.</param>
/// <param name="KeyPadding">Optional <c>[B, S]</c>: true where a key is not looked at.</param>
/// <param name="Mask">Optional <c>[T, S]</c>, added to the logits.</param>
internal sealed record NativeInputs(Tensor Query, Tensor Key, Tensor Value, Tensor? KeyPadding, Tensor? Mask)
{
    /// <summary>The batch's first example alone.</summary>
    public NativeInputs First() =>
        new(Query.narrow(1, 0, 1), Key.narrow(1, 0, 1), Value.narrow(1, 0, 1), KeyPadding?.narrow(0, 0, 1), Mask);
}
