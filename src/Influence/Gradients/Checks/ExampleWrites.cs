using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Notices a loss delegate that writes to the examples: the second evaluation then sees other numbers than the first, and the user's
/// data are no longer what they were. Nothing is copied: the tensors' counts of writes tell, and a hash of whole numbers, which a delegate
/// may write to through their memory (<c>tensor.data&lt;long&gt;()</c>); that raises no count.
/// </summary>
internal sealed class ExampleWrites
{
    private readonly WriteProbe _probe = new();
    private readonly List<(Tensor Value, ulong Hash)> _wholes;

    /// <summary>Watches a batch's tensors from now on.</summary>
    public ExampleWrites(ExampleBatch batch)
    {
        List<Tensor> watched = [.. batch.Tensors.Where(tensor => !tensor.is_sparse && tensor.numel() > 0)];
        _probe.Watch(watched);
        _wholes =
        [
            .. watched
                .Where(tensor => !tensor.is_floating_point() && tensor.device_type == DeviceType.CPU)
                .Select(tensor => (tensor, WeightsHash.Bits(tensor))),
        ];
    }

    /// <summary>Whether anything was written to any of them, be it what was there before.</summary>
    public bool Any() => _probe.WasWrittenTo() || _wholes.Any(whole => WeightsHash.Bits(whole.Value) != whole.Hash);

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
}
