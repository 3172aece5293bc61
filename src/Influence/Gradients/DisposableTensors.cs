using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Tensors of one owner, outside all dispose scopes.</summary>
internal sealed class DisposableTensors : IDisposable
{
    private readonly List<Tensor> _tensors = [];

    /// <summary>Takes a tensor over.</summary>
    public Tensor Own(Tensor tensor)
    {
        _tensors.Add(tensor.DetachFromDisposeScope());
        return tensor;
    }

    public void Dispose()
    {
        _tensors.ForEach(tensor => tensor.Dispose());
        _tensors.Clear();
    }
}
