using System.Runtime.InteropServices;
using Google.Protobuf;
using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Pretrained;

/// <summary>A constant tensor of a graph.</summary>
/// <param name="Name">Its name in the graph.</param>
/// <param name="Shape">Its lengths.</param>
/// <param name="Values">Its numbers; empty where they are no 32-bit floats.</param>
internal sealed record OnnxTensor(string Name, long[] Shape, float[] Values)
{
    private const int DimensionField = 1;
    private const int TypeField = 2;
    private const int FloatsField = 4;
    private const int NameField = 8;
    private const int RawField = 9;
    private const int FloatType = 1;

    public static OnnxTensor Read(ByteString message)
    {
        var (name, type, shape, values) = (string.Empty, 0, new List<long>(), Array.Empty<float>());
        OnnxGraph.Fields(
            message.CreateCodedInput(),
            (field, tensor) =>
            {
                switch (field)
                {
                    case DimensionField:
                        shape.Add(tensor.ReadInt64());
                        return true;
                    case TypeField:
                        type = tensor.ReadInt32();
                        return true;
                    case NameField:
                        name = tensor.ReadString();
                        return true;
                    case FloatsField or RawField:
                        // Both are little-endian 32-bit numbers, one after the other, where the type is a float's.
                        var bytes = tensor.ReadBytes();
                        values = type == FloatType ? MemoryMarshal.Cast<byte, float>(bytes.Span).ToArray() : [];
                        return true;
                    default:
                        return false;
                }
            }
        );
        return new OnnxTensor(name, [.. shape], values);
    }

    /// <summary>The numbers as a tensor, transposed where the module holds them so.</summary>
    public Tensor ToTensor(bool transposed = false)
    {
        using var scope = NewDisposeScope();
        var whole = tensor(Values, Shape);
        return (transposed ? whole.t().contiguous() : whole).MoveToOuterDisposeScope();
    }
}
