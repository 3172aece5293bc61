using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The per-example gradients of one batch, block by block. Owns a dispose scope that everything made for the batch lives
/// in until it is disposed.
/// </summary>
internal sealed class BatchGradients : IDisposable
{
    private readonly DisposeScope _scope;

    public BatchGradients(DisposeScope scope, IReadOnlyList<long> ids, ScalarType dtype, Device device)
    {
        _scope = scope;
        Ids = ids;
        Dtype = dtype;
        Device = device;
    }

    /// <summary>One gradient that is written out, as that of an example of id -1. The tensors stay the caller's, who disposes the result
    /// first.</summary>
    /// <param name="parts">One entry per block of the session, <c>[1, P_k]</c> each.</param>
    /// <param name="dtype">Of the gradients.</param>
    /// <param name="device">Where they are.</param>
    public static BatchGradients OfOne(Tensor[]?[] parts, ScalarType dtype, Device device) =>
        new(NewDisposeScope(), [-1], dtype, device)
        {
            Blocks = [.. parts.Select(own => own is null ? null : new DenseGradients(1, () => [.. own.Select(part => part.alias())]))],
        };

    /// <summary>One entry per block of the session; null where the batch did not use the block.</summary>
    public IReadOnlyList<BlockGradients?> Blocks { get; set; } = [];

    /// <summary>The losses, <c>[B]</c>; null where no layer was watched.</summary>
    public Tensor? Losses { get; set; }

    public IReadOnlyList<long> Ids { get; }

    public int Count => Ids.Count;

    public ScalarType Dtype { get; }

    public Device Device { get; }

    /// <summary>Each example's squared gradient norm over all blocks, <c>[B]</c>.</summary>
    public Tensor SquaredNorms()
    {
        var total = zeros([Count], Dtype, Device);
        foreach (var block in Blocks)
        {
            if (block is not null)
            {
                using var scope = NewDisposeScope();
                using var span = ContractionSpan.Of(ContractionSpan.Norms, block);
                total.add_(block.SquaredNorms());
                block.Release();
            }
        }

        return total;
    }

    public void Dispose() => _scope.Dispose();
}
