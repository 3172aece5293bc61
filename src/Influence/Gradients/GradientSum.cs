using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The sum of many examples' gradients, kept as one example's. No gradient of a single example is written out where the
/// layer has factors: summed over a batch, they are one matrix product.
/// </summary>
internal sealed class GradientSum(GradientSession session) : IDisposable
{
    private readonly Tensor[]?[] _sums = new Tensor[]?[session.Parts.Count];

    /// <summary>Adds every example of a batch.</summary>
    public void Add(BatchGradients batch)
    {
        for (var k = 0; k < _sums.Length; k++)
        {
            if (batch.Blocks[k] is not { } block)
            {
                continue;
            }

            using var scope = NewDisposeScope();
            Tensor[] parts = [.. block.Sum().Select(part => part.unsqueeze(0))]; // [1, P_k]
            if (_sums[k] is { } sums)
            {
                for (var p = 0; p < sums.Length; p++)
                {
                    sums[p].add_(parts[p]);
                }
            }
            else
            {
                _sums[k] = [.. parts.Select(part => part.clone().DetachFromDisposeScope())];
            }

            block.Release();
        }
    }

    /// <summary>The sum as the gradients of one example, of id -1. The caller disposes it before this.</summary>
    public BatchGradients Take() => BatchGradients.OfOne(_sums, session.Dtype, session.Device);

    public void Dispose()
    {
        foreach (var part in _sums.OfType<Tensor[]>().SelectMany(parts => parts))
        {
            part.Dispose();
        }
    }
}
