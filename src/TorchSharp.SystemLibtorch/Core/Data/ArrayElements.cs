using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TorchSharp.Utils;

internal static class ArrayElements
{
    /// <summary>All elements of an array of any number of dimensions, in row-major order.</summary>
    public static Span<T> Of<T>(Array array)
        where T : unmanaged => MemoryMarshal.CreateSpan(
            ref Unsafe.As<byte, T>(ref MemoryMarshal.GetArrayDataReference(array)), array.Length);
}
