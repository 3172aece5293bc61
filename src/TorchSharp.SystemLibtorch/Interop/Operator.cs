// How the rest of this project calls libtorch.
//
// An Operator is one entry of ATen's operator table, named as in native_functions.yaml: "aten::name" and the overload
// after the dot, if there is one. Declare it once, as a static field, and call it with the arguments in the schema's
// order; trailing arguments that are left out take the schema's defaults (those behind the '*' included).
//
//   linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor
//
//     private static readonly Operator Linear = new("aten::linear");
//     public static Tensor linear(Tensor input, Tensor weight, Tensor? bias = null) =>
//         Linear.Call(input, weight, bias);                                // a null tensor is None
//
//   native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)
//       -> (Tensor, Tensor, Tensor)
//   dropout_(Tensor(a!) self, float p, bool train) -> Tensor(a!)
//
//     var (output, mean, rstd) = NativeLayerNorm.Call3(input, shape, weight, bias, 1e-5);
//     Dropout_.CallInPlace(input, 0.5, true);                              // returns input itself
//
// Numbers are Tensor, long, double, bool, Scalar, string, long[]/ReadOnlySpan<long>, double[], bool[], Tensor[],
// ScalarType, Device, Generator or null. An int where the schema says float is converted; a single long where it says
// int[] becomes a list of one. Enums of ATen (reduction, memory format, layout) are passed as long.
//
// Every tensor that comes back is a new Tensor, registered with the current dispose scope. An undefined tensor comes
// back as one whose IsInvalid is true. Errors arrive as ExternalException. Arguments are kept alive during the call,
// and a disposed one throws InvalidOperationException.

using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>One operator of libtorch's dispatcher; see the top of this file.</summary>
internal sealed unsafe class Operator(string name, string overload = "")
{
    private nint _handle;

    private nint Handle => _handle != 0 ? _handle : Find();

    /// <summary>Calls an operator that returns one tensor.</summary>
    public Tensor Call(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue result;
        Invoke(arguments, &result, 1);
        return Results.TensorOf(result);
    }

    /// <summary>Calls an operator that writes to <paramref name="self"/>, and returns it.</summary>
    public Tensor CallInPlace(Tensor self, params ReadOnlySpan<Argument> others)
    {
        var buffer = default(ArgumentBuffer);
        Span<Argument> arguments = buffer;
        arguments[0] = self;
        others.CopyTo(arguments[1..]);
        Invoke(arguments[..(others.Length + 1)], null, 0);
        return self;
    }

    /// <summary>Calls an operator that returns two tensors.</summary>
    public (Tensor, Tensor) Call2(params ReadOnlySpan<Argument> arguments)
    {
        var results = stackalloc NativeValue[2];
        Invoke(arguments, results, 2);
        return (Results.TensorOf(results[0]), Results.TensorOf(results[1]));
    }

    /// <summary>Calls an operator that returns three tensors.</summary>
    public (Tensor, Tensor, Tensor) Call3(params ReadOnlySpan<Argument> arguments)
    {
        var results = stackalloc NativeValue[3];
        Invoke(arguments, results, 3);
        return (Results.TensorOf(results[0]), Results.TensorOf(results[1]), Results.TensorOf(results[2]));
    }

    /// <summary>Calls an operator that returns a list of tensors.</summary>
    public Tensor[] CallList(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue result;
        Invoke(arguments, &result, 1);
        return Results.TensorsOf(result);
    }

    /// <summary>Calls an operator that returns a bool.</summary>
    public bool CallBool(params ReadOnlySpan<Argument> arguments) => CallValue(arguments).Int != 0;

    /// <summary>Calls an operator that returns an int (or a dtype).</summary>
    public long CallInt(params ReadOnlySpan<Argument> arguments) => CallValue(arguments).Int;

    /// <summary>Calls an operator that returns a number, whose tag says what it is.</summary>
    public NativeValue CallValue(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue result;
        Invoke(arguments, &result, 1);
        return result;
    }

    private void Invoke(ReadOnlySpan<Argument> arguments, NativeValue* results, int capacity)
    {
        var values = stackalloc NativeValue[arguments.Length];
        using var frame = new CallFrame(arguments, values);
        if (Native.OperatorCall(Handle, values, arguments.Length, results, capacity) < 0)
        {
            throw Native.LastException();
        }
    }

    // Two threads may both look an operator up the first time: both find an equal one, and the loser's few bytes stay.
    private nint Find()
    {
        var found = Native.OperatorFind(name, overload);
        if (found == 0)
        {
            throw Native.LastException();
        }

        return _handle = found;
    }

    [InlineArray(16)]
    private struct ArgumentBuffer
    {
        private Argument _first;
    }
}
