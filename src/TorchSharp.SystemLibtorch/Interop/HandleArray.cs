using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>Takes and gives back references on the handles of a list of tensors; a null tensor is handle zero.</summary>
internal static unsafe class HandleArray
{
    /// <summary>Fills <paramref name="handles"/>; on failure nothing stays taken.</summary>
    public static void Acquire(ReadOnlySpan<Tensor?> tensors, nint* handles)
    {
        var taken = 0;
        try
        {
            for (; taken < tensors.Length; taken++)
            {
                handles[taken] = tensors[taken]?.Acquire() ?? 0;
            }
        }
        catch
        {
            Release(tensors[..taken]);
            throw;
        }
    }

    public static void Release(ReadOnlySpan<Tensor?> tensors)
    {
        foreach (var tensor in tensors)
        {
            tensor?.Release();
        }
    }
}
