using System.Runtime.InteropServices;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Notices a loss delegate that writes to the examples: the second evaluation then sees other numbers than the first, and the user's
/// data are no longer what they were. Of real numbers autograd keeps one, which shares the tensor's count of writes; others are few and are
/// copied.
/// </summary>
internal sealed class ExampleWrites : IDisposable
{
    private readonly ExampleBatch _batch;
    private readonly List<Tensor> _owned = [];
    private readonly List<(int Index, Tensor Copy)> _copies = [];
    private readonly List<Tensor> _numbers = [];
    private readonly Tensor? _leaf;

    /// <summary>Watches a batch's tensors from now on.</summary>
    public ExampleWrites(ExampleBatch batch)
    {
        _batch = batch;
        using var grad = enable_grad();
        for (var k = 0; k < batch.Tensors.Count; k++)
        {
            var tensor = batch.Tensors[k];
            if (tensor.is_sparse || tensor.numel() == 0)
            {
                continue;
            }

            if (!tensor.is_floating_point())
            {
                _copies.Add((k, Own(tensor.clone())));
                continue;
            }

            try
            {
                _leaf ??= Own(ones(1, device: tensor.device).requires_grad_(true));
                using var first = tensor.detach().as_strided([1], [1], tensor.storage_offset());
                _numbers.Add(Own(first * _leaf));
            }
            catch (ExternalException)
            {
                // Made under inference_mode: such a tensor has no count of writes.
            }
        }
    }

    /// <summary>Whether anything was written to any of them, be it what was there before.</summary>
    public bool Any()
    {
        if (_copies.Any(pair => !_batch.Tensors[pair.Index].equal(pair.Copy).all().item<bool>()))
        {
            return true;
        }

        return _numbers.Count > 0 && WriteProbe.WasWrittenTo(_numbers, _leaf!);
    }

    /// <summary>
    /// The name of a tensor in which an evaluation, of a copy, leaves other numbers than it found; null where there is none, as where it
    /// only clears what is cleared already.
    /// </summary>
    public static string? ChangedBy(ExampleBatch batch, Action<ExampleBatch> evaluate)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var copy = batch;
        foreach (var name in batch.Names)
        {
            copy = copy.With(name, batch[name].clone());
        }

        evaluate(copy);
        return batch.Names.FirstOrDefault(name => !SameNumbers.Are(copy[name], batch[name]));
    }

    public void Dispose() => _owned.ForEach(tensor => tensor.Dispose());

    private Tensor Own(Tensor tensor)
    {
        tensor.DetachFromDisposeScope();
        _owned.Add(tensor);
        return tensor;
    }
}
