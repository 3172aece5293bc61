using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// What one call of a layer left behind: its input and the gradient of the summed losses with respect to its output,
/// both with the examples in front (<c>[B, ...]</c>, or <c>[B*k, ...]</c> with k rows per example).
/// </summary>
/// <param name="Activation">The input, <c>[B*k, ..., I]</c> for Linear, <c>[B*k, C, H, W]</c> for Conv2d, indices for Embedding.</param>
/// <param name="OutputGradient">d(sum of losses)/d(output), in the output's shape.</param>
/// <param name="RowsPerExample">k.</param>
/// <param name="Mask">Optional <c>[B, T]</c>: positions that count; the output gradient is zero at the others.</param>
internal sealed record LayerCall(Tensor Activation, Tensor OutputGradient, long RowsPerExample, Tensor? Mask = null)
{
    /// <summary>The number of examples, B.</summary>
    public long Examples => OutputGradient.shape[0] / RowsPerExample;

    /// <summary>Whether the layer was in training mode: a BatchNorm then normalised by the batch's own statistics.</summary>
    public bool IsTraining { get; init; }

    /// <summary>The output's gradient is in the activation's place and the other way round: see <see cref="TransposedRule"/>.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>The output and where its examples lie, where it is to be differentiated again.</summary>
    public (Tensor Output, LayerLayout Layout)? Tap { get; init; }

    /// <summary>The call as some of the examples saw it; views, in the current scope.</summary>
    public LayerCall Slice(long start, long count) =>
        this with
        {
            Activation = Activation.narrow(0, start * RowsPerExample, count * RowsPerExample),
            OutputGradient = OutputGradient.narrow(0, start * RowsPerExample, count * RowsPerExample),
            Mask = Mask?.narrow(0, start, count),
        };

    /// <summary><c>[B*k, ..., n]</c> as <c>[B, T, n]</c>: every leading dimension but the examples is a position.</summary>
    public Tensor ByPosition(Tensor tensor) => tensor.reshape(Examples, -1, tensor.shape[^1]);
}
