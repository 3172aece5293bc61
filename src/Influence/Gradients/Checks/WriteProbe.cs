using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Finds in-place writes to what the layers saw, exactly and at the cost of one number a tensor: autograd keeps that number, which
/// shares the tensor's count of writes, and refuses to use it once anything was written to the tensor or to a view of it.
/// </summary>
/// <param name="owner">Where the numbers live until the pass is over.</param>
/// <param name="device">The model's device.</param>
internal sealed class WriteProbe(DisposeScope owner, Device device)
{
    private readonly List<Tensor> _numbers = [];
    private Tensor? _leaf;

    /// <summary>Watches a tensor from now on.</summary>
    public void Watch(Tensor tensor)
    {
        if (tensor.numel() == 0)
        {
            return;
        }

        _leaf ??= Own(ones(1, device: device).requires_grad_(true));
        using var first = tensor.as_strided([1], [1], tensor.storage_offset());
        _numbers.Add(Own(first * _leaf));
    }

    /// <summary>Whether a forward pass failed because it writes to an output that a layer gave a gradient of its own.</summary>
    public static bool IsWriteToLeaf(InfluenceException failure) =>
        failure.InnerException is { } cause && cause.Message.Contains("leaf Variable", StringComparison.Ordinal);

    /// <summary>Whether anything was written to a watched tensor since.</summary>
    public bool WasWrittenTo() => _numbers.Count > 0 && WasWrittenTo(_numbers, _leaf!);

    /// <summary>Whether anything was written to what these numbers, each times the leaf, were read from.</summary>
    public static bool WasWrittenTo(List<Tensor> numbers, Tensor leaf)
    {
        try
        {
            autograd.backward(numbers, inputs: [leaf]);
            return false;
        }
        catch (ExternalException exception) when (exception.Message.Contains("inplace operation", StringComparison.Ordinal))
        {
            return true;
        }
    }

    private Tensor Own(Tensor tensor)
    {
        owner.Attach(tensor);
        return tensor;
    }
}
