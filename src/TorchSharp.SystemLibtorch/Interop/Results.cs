using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>Turns what a native call returned into managed tensors.</summary>
internal static unsafe class Results
{
    public static Tensor TensorOf(in NativeValue value) =>
        value.Tag is ValueTag.Tensor or ValueTag.None
            ? new Tensor(value.Pointer)
            : throw new InvalidOperationException($"The operator returned {value.Tag}, not a tensor.");

    public static Tensor[] TensorsOf(in NativeValue value)
    {
        if (value.Tag != ValueTag.TensorList)
        {
            throw new InvalidOperationException($"The operator returned {value.Tag}, not a list of tensors.");
        }

        var handles = (nint*)value.Pointer;
        var tensors = new Tensor[value.Length];
        for (var i = 0; i < tensors.Length; i++)
        {
            tensors[i] = new Tensor(handles[i]);
        }

        Native.HandlesFree(handles);
        return tensors;
    }
}
