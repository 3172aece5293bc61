using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>Tensors from managed memory. The data are always copied.</summary>
public static partial class torch
{
    public static Tensor from_array(Array rawArray, Device? device = null) => from_array(rawArray, null, device ?? CPU);

    public static Tensor from_array(
        Array rawArray, ScalarType? dtype, Device? device = null, bool requires_grad = false,
        string[]? names = null) =>
        FromArray(rawArray, dtype, device, requires_grad, names);

    internal static ScalarType ToScalarType(Type type) => Type.GetTypeCode(type) switch
    {
        TypeCode.Boolean => ScalarType.Bool,
        TypeCode.Byte => ScalarType.Byte,
        TypeCode.SByte => ScalarType.Int8,
        TypeCode.Int16 => ScalarType.Int16,
        TypeCode.Int32 => ScalarType.Int32,
        TypeCode.Int64 => ScalarType.Int64,
        TypeCode.Single => ScalarType.Float32,
        TypeCode.Double => ScalarType.Float64,
        _ when type == typeof(Half) => ScalarType.Float16,
        _ => throw new NotSupportedException($"The type {type.FullName} is not supported."),
    };

    /// <summary>Copies the first elements of <paramref name="data"/> into a tensor of the given sizes.</summary>
    internal static unsafe Tensor FromSpan<T>(
        ReadOnlySpan<T> data, ReadOnlySpan<long> sizes, ScalarType? dtype, Device? device, bool requires_grad,
        string[]? names)
        where T : unmanaged
    {
        fixed (T* first = data)
        {
            return FromMemory(
                first, data.Length, sizeof(T), ToScalarType(typeof(T)), sizes, dtype, device, requires_grad, names);
        }
    }

    private static unsafe Tensor FromArray(
        Array data, ScalarType? dtype, Device? device, bool requires_grad, string[]? names)
    {
        var element = data.GetType().GetElementType()!;
        var type = ToScalarType(element);
        Span<long> sizes = stackalloc long[data.Rank];
        for (var i = 0; i < data.Rank; i++)
        {
            sizes[i] = data.GetLongLength(i);
        }

        fixed (byte* first = &MemoryMarshal.GetArrayDataReference(data))
        {
            return FromMemory(
                first, data.LongLength, type.ElementSize(), type, sizes, dtype, device, requires_grad, names);
        }
    }

    private static unsafe Tensor FromMemory(
        void* data, long length, int elementSize, ScalarType type, ReadOnlySpan<long> sizes, ScalarType? dtype,
        Device? device, bool requires_grad, string[]? names)
    {
        NoNames(names);
        var elements = 1L;
        foreach (var size in sizes)
        {
            elements *= size;
        }

        if (elements > length)
        {
            throw new ArgumentException(
                $"mismatched total size creating a tensor from an array: {elements} vs. {length}");
        }

        device = InitializeDevice(device);
        fixed (long* dims = sizes)
        {
            var made = Native.TensorFromMemory(data, elements * elementSize, dims, sizes.Length, (int)type);
            var tensor = made != 0 ? new Tensor(made) : throw Native.LastException();
            return tensor.MovedTo(dtype ?? type, device).WithGrad(requires_grad);
        }
    }

    /// <summary>Named dimensions are not offered here: better to say so than to lose the names.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void NoNames(string[]? names)
    {
        if (names is { Length: > 0 })
        {
            throw new NotSupportedException("Named dimensions are not supported over the system's libtorch.");
        }
    }

    public partial class Tensor
    {
        /// <summary>For new tensors: sets the flag only where that changes something.</summary>
        internal Tensor WithGrad(bool requires_grad) => requires_grad ? requires_grad_() : this;

        // This tensor itself where nothing changes; a converted one otherwise, and this one is disposed.
        internal Tensor MovedTo(ScalarType type, Device device)
        {
            if (device.type == DeviceType.CPU)
            {
                return type == dtype ? this : to_type(type, disposeAfter: true);
            }

            return to(type, device, disposeAfter: true);
        }
    }
}
