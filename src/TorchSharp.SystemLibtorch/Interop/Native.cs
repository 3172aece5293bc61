using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>The functions of libinfluence_torch_native, one to one; the native source says what they do.
/// Reads that
/// neither block nor fail skip the switch of GC mode, which would cost more than they do.</summary>
internal static unsafe partial class Native
{
    private const string Library = NativeLoader.LibraryName;

    static Native() => NativeLoader.Prepare();

    [LibraryImport(Library, EntryPoint = "inf_last_error")]
    private static partial byte* LastError();

    [LibraryImport(Library, EntryPoint = "inf_libtorch_version")]
    public static partial byte* LibtorchVersion();

    [LibraryImport(Library, EntryPoint = "inf_live_handles")]
    public static partial long LiveHandles();

    [LibraryImport(Library, EntryPoint = "inf_operator_find", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint OperatorFind(string name, string overload);

    [LibraryImport(Library, EntryPoint = "inf_operator_call")]
    public static partial int OperatorCall(
        nint op, NativeValue* arguments, int count, NativeValue* results, int capacity);

    [LibraryImport(Library, EntryPoint = "inf_handles_free")]
    public static partial void HandlesFree(nint* handles);

    [LibraryImport(Library, EntryPoint = "inf_tensor_free")]
    public static partial void TensorFree(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_alias")]
    public static partial nint TensorAlias(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_from_memory")]
    public static partial nint TensorFromMemory(void* data, long bytes, long* sizes, int dims, int dtype);

    [LibraryImport(Library, EntryPoint = "inf_tensor_dim")]
    [SuppressGCTransition]
    public static partial int TensorDim(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_numel")]
    [SuppressGCTransition]
    public static partial long TensorNumel(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_element_size")]
    [SuppressGCTransition]
    public static partial long TensorElementSize(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_dtype")]
    [SuppressGCTransition]
    public static partial int TensorDtype(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_requires_grad")]
    public static partial int TensorRequiresGrad(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_sizes")]
    public static partial int TensorSizes(nint tensor, long* sizes);

    [LibraryImport(Library, EntryPoint = "inf_tensor_strides")]
    public static partial int TensorStrides(nint tensor, long* strides);

    [LibraryImport(Library, EntryPoint = "inf_tensor_storage_offset")]
    public static partial long TensorStorageOffset(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_device")]
    public static partial int TensorDevice(nint tensor, int* index);

    [LibraryImport(Library, EntryPoint = "inf_tensor_is_sparse")]
    public static partial int TensorIsSparse(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_is_contiguous")]
    public static partial int TensorIsContiguous(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_data")]
    public static partial int TensorData(nint tensor, void** data);

    [LibraryImport(Library, EntryPoint = "inf_tensor_is_leaf")]
    public static partial int TensorIsLeaf(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_set_requires_grad")]
    public static partial int TensorSetRequiresGrad(nint tensor, int value);

    [LibraryImport(Library, EntryPoint = "inf_tensor_retain_grad")]
    public static partial int TensorRetainGrad(nint tensor);

    [LibraryImport(Library, EntryPoint = "inf_tensor_grad")]
    public static partial int TensorGrad(nint tensor, nint* grad);

    [LibraryImport(Library, EntryPoint = "inf_tensor_set_grad")]
    public static partial int TensorSetGrad(nint tensor, nint grad);

    /// <summary>What libtorch said about the last failure on this thread.</summary>
    [SuppressMessage("Usage", "CA2201", Justification = "TorchSharp reports libtorch's errors as ExternalException.")]
    public static ExternalException LastException() => new(Marshal.PtrToStringUTF8((nint)LastError()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Check(int status)
    {
        if (status < 0)
        {
            throw LastException();
        }
    }
}
