using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>The sum of some queries' gradients with the metric applied to it, written out and kept from call to call.</summary>
/// <param name="parts">One entry per block of the session, <c>[1, P_k]</c> each; they become this object's.</param>
/// <param name="examplesAtOnce">How many training examples may be captured at once.</param>
/// <param name="unchanged">The weights that it belongs to.</param>
internal sealed class PreparedSum(Tensor[]?[] parts, int examplesAtOnce, UnchangedWeights unchanged) : IDisposable
{
    public int ExamplesAtOnce => examplesAtOnce;

    public UnchangedWeights Unchanged => unchanged;

    /// <summary>As the gradients of one example, of id -1. The caller disposes it before this.</summary>
    public BatchGradients Take(ScalarType dtype, Device device) => BatchGradients.OfOne(parts, dtype, device);

    public void Dispose()
    {
        foreach (var part in parts.OfType<Tensor[]>().SelectMany(own => own))
        {
            part.Dispose();
        }
    }
}
