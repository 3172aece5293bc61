using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>Holds the native handles of a list of tensors for the length of one call; a null list is empty.</summary>
internal unsafe ref struct TensorListUse
{
    private readonly Tensor[] _tensors;

    public TensorListUse(IEnumerable<Tensor>? list)
    {
        _tensors = list is null ? [] : [.. list];
        Handles = (nint*)NativeMemory.Alloc((nuint)_tensors.Length, (nuint)sizeof(nint));
        try
        {
            HandleArray.Acquire(_tensors, Handles);
        }
        catch
        {
            NativeMemory.Free(Handles);
            throw;
        }
    }

    public nint* Handles { get; private set; }

    public readonly int Count => _tensors.Length;

    public void Dispose()
    {
        if (Handles != null)
        {
            HandleArray.Release(_tensors);
            NativeMemory.Free(Handles);
            Handles = null;
        }
    }
}
