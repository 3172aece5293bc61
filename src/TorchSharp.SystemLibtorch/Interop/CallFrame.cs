using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>
/// The arguments of one call in native form. Takes a reference on every tensor handle (so that neither a finaliser nor
/// a Dispose on another thread can free it under the call) and gives it back on Dispose; lists and strings are copied
/// to scratch memory, so nothing needs pinning.
/// </summary>
internal ref struct CallFrame
{
    private readonly ReadOnlySpan<Argument> _arguments;
    private unsafe void* _scratch;
    private int _taken;

    public unsafe CallFrame(ReadOnlySpan<Argument> arguments, NativeValue* values)
    {
        _arguments = arguments;
        try
        {
            nuint offset = 0;
            for (; _taken < arguments.Length; _taken++)
            {
                ref readonly var argument = ref arguments[_taken];
                var value = values + _taken;
                value->Tag = argument.Tag;
                value->Length = argument.Index;
                switch (argument.Tag)
                {
                    case ValueTag.Tensor:
                        value->Pointer = Unsafe.As<Tensor>(argument.Reference!).Acquire();
                        break;
                    case ValueTag.Generator:
                        value->Pointer = Unsafe.As<Generator>(argument.Reference!).Acquire();
                        break;
                    case ValueTag.TensorList:
                        PackTensors(Unsafe.As<Tensor?[]>(argument.Reference!), value, ref offset);
                        break;
                    case ValueTag.IntList:
                        Pack<long>(Unsafe.As<long[]>(argument.Reference!), value, ref offset);
                        break;
                    case ValueTag.DoubleList:
                        Pack<double>(Unsafe.As<double[]>(argument.Reference!), value, ref offset);
                        break;
                    case ValueTag.BoolList:
                        Pack<bool>(Unsafe.As<bool[]>(argument.Reference!), value, ref offset);
                        break;
                    case ValueTag.String:
                        Pack<byte>(Encoding.UTF8.GetBytes((string)argument.Reference!), value, ref offset);
                        break;
                    default:
                        value->Int = argument.Bits;
                        break;
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public unsafe void Dispose()
    {
        for (var i = 0; i < _taken; i++)
        {
            ref readonly var argument = ref _arguments[i];
            if (argument.Tag == ValueTag.Tensor)
            {
                Unsafe.As<Tensor>(argument.Reference!).Release();
            }
            else if (argument.Tag == ValueTag.Generator)
            {
                Unsafe.As<Generator>(argument.Reference!).Release();
            }
            else if (argument.Tag == ValueTag.TensorList)
            {
                HandleArray.Release(Unsafe.As<Tensor?[]>(argument.Reference!));
            }
        }

        _taken = 0;
        NativeMemory.Free(_scratch);
        _scratch = null;
    }

    private unsafe void Pack<T>(ReadOnlySpan<T> items, NativeValue* value, ref nuint offset)
        where T : unmanaged
    {
        value->Length = items.Length;
        value->Pointer = (nint)Reserve((nuint)(items.Length * sizeof(T)), ref offset);
        items.CopyTo(new Span<T>((void*)value->Pointer, items.Length));
    }

    private unsafe void PackTensors(Tensor?[] tensors, NativeValue* value, ref nuint offset)
    {
        value->Length = tensors.Length;
        value->Pointer = (nint)Reserve((nuint)(tensors.Length * sizeof(nint)), ref offset);
        HandleArray.Acquire(tensors, (nint*)value->Pointer);
    }

    // One block for the whole call, sized by the first list that needs it: later lists must not move earlier ones.
    private unsafe void* Reserve(nuint bytes, ref nuint offset)
    {
        if (_scratch == null)
        {
            _scratch = NativeMemory.Alloc(ScratchBytes());
        }

        var start = (byte*)_scratch + offset;
        offset += (bytes + 7) & ~(nuint)7;
        return start;
    }

    private readonly nuint ScratchBytes()
    {
        nuint total = 8;
        foreach (ref readonly var argument in _arguments)
        {
            total += argument.Reference switch
            {
                long[] list => (nuint)list.Length * 8,
                double[] list => (nuint)list.Length * 8,
                Tensor?[] list => (nuint)list.Length * 8,
                bool[] list => (nuint)list.Length + 7,
                string text => (nuint)Encoding.UTF8.GetMaxByteCount(text.Length) + 7,
                _ => 0,
            };
        }

        return total;
    }
}
