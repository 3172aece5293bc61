using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What one pass wants of the layers that it runs through.</summary>
/// <param name="Owner">Where what they keep lives.</param>
/// <param name="Examples">B.</param>
/// <param name="Mode">What they keep.</param>
/// <param name="Kind">The delegate that runs them.</param>
internal sealed record LayerWatch(DisposeScope Owner, long Examples, TapMode Mode, LossKind Kind)
{
    /// <summary>Watches for uses of weights past their layers; null where no gradient is taken.</summary>
    public ParameterGate? Gate { get; init; }

    /// <summary>Watches for in-place writes; null where they are known or do not matter.</summary>
    public WriteProbe? Writes { get; init; }
}
