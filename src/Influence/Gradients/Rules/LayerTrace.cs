using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// What one call of a layer left behind for one batch: its input and the gradient of the summed losses with respect to its output. The
/// rows lead: <c>[B, ...]</c> for B examples, or <c>[B*k, ...]</c> where the model lays k rows of each example one after the other.
/// </summary>
public sealed class LayerTrace
{
    private readonly LayerCall _call;

    internal LayerTrace(LayerCall call) => _call = call;

    /// <summary>The input, detached, in the layer's shape; borrowed.</summary>
    public Tensor Activation => _call.Activation;

    /// <summary>The gradient of the summed losses with respect to the output, in the output's shape; borrowed. 0 at masked
    /// positions.</summary>
    public Tensor OutputGradient => _call.OutputGradient;

    /// <summary>The number of rows, B*k.</summary>
    public long Rows => _call.OutputGradient.shape[0];

    /// <summary>The number of examples, B.</summary>
    public long Examples => _call.Examples;

    /// <summary>Whether the layer was in training mode.</summary>
    public bool IsTraining => _call.IsTraining;
}
