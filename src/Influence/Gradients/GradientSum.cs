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
            var parts = Summed(block);
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
    public BatchGradients Take() => new(NewDisposeScope(), [-1], session.Dtype, session.Device)
    {
        Blocks = [.. _sums.Select(parts => parts is null ? null : new DenseGradients(1, () => [.. parts.Select(p => p.alias())]))],
    };

    public void Dispose()
    {
        foreach (var part in _sums.OfType<Tensor[]>().SelectMany(parts => parts))
        {
            part.Dispose();
        }
    }

    /// <summary>One part a parameter, <c>[1, P_k]</c>.</summary>
    private static Tensor[] Summed(BlockGradients block)
    {
        if (block is FactoredGradients { Weight: true } f)
        {
            var d = f.OutputGradient.reshape(-1, f.Outputs);                            // [B*T, O]
            var weight = d.t().mm(f.Activation.reshape(-1, f.Inputs)).reshape(1, -1);
            return f.Bias ? [weight, d.sum(0L).unsqueeze(0)] : [weight];
        }

        if (block is TokenGradients tokens)
        {
            var table = zeros([tokens.Vocabulary, tokens.Width], tokens.OutputGradient.dtype, tokens.OutputGradient.device);
            table.index_add_(0, tokens.Tokens.reshape(-1), tokens.OutputGradient.reshape(-1, tokens.Width), 1);
            return [table.reshape(1, -1)];
        }

        return [.. block.Dense().Select(part => part.sum(0L).unsqueeze(0))];
    }
}
