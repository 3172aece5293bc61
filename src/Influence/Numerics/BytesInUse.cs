using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>The memory behind tensors, each piece once however many of them look at it.</summary>
internal static class BytesInUse
{
    /// <summary>Bytes that some tensors hold. Of types whose address cannot be read every tensor counts for itself, views too.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="others">Tensors whose memory does not count.</param>
    public static double Of(IEnumerable<Tensor> tensors, IEnumerable<Tensor> others)
    {
        var known = others.Select(Address).ToHashSet();
        var found = new Dictionary<nint, double>();
        var apart = 0.0;
        foreach (var tensor in tensors)
        {
            if (tensor.IsInvalid || tensor.numel() == 0 || tensor.is_sparse)
            {
                continue;
            }

            var size = (double)tensor.dtype.ElementSize();
            if (Address(tensor) is not (not 0 and var address))
            {
                apart += size * tensor.numel();
            }
            else if (!known.Contains(address))
            {
                var end = tensor.storage_offset() + 1 + tensor.shape.Zip(tensor.stride(), (n, step) => (n - 1) * step).Sum();
                found[address] = Math.Max(found.GetValueOrDefault(address), size * end);
            }
        }

        return apart + found.Values.Sum();
    }

    private static nint Address(Tensor tensor) =>
        tensor.is_sparse
            ? 0
            : tensor.dtype switch
            {
                ScalarType.Float32 => tensor.storage<float>().data_ptr(),
                ScalarType.Float64 => tensor.storage<double>().data_ptr(),
                ScalarType.Int64 => tensor.storage<long>().data_ptr(),
                _ => 0,
            };
}
