using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Example i is the i-th slice of every tensor.</summary>
public class TensorDataset : utils.data.IterableDataset
{
    private readonly Tensor[] _tensors;

    internal TensorDataset(Tensor[] tensors)
    {
        if (tensors is null || tensors.Length == 0)
        {
            throw new ArgumentNullException(nameof(tensors), "A dataset needs at least one tensor.");
        }

        var counts = Array.ConvertAll(tensors, tensor => tensor.shape[0]);
        if (counts.Any(count => count != counts[0]))
        {
            throw new ArgumentException(
                $"All tensors must have the same first dimension, but have [{string.Join(", ", counts)}].",
                nameof(tensors));
        }

        // Second wrappers: the caller may dispose the originals.
        _tensors = Array.ConvertAll(tensors, tensor => tensor.alias().DetachFromDisposeScope());
        Count = counts[0];
    }

    internal IReadOnlyList<Tensor> Tensors => _tensors;

    public override long Count { get; }

    public IList<Tensor> this[long index] => _tensors.Select(tensor => tensor[index]).ToList();

    public override IList<Tensor> GetTensor(long index) => this[index];

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Array.ForEach(_tensors, tensor => tensor.Dispose());
        }

        base.Dispose(disposing);
    }
}
