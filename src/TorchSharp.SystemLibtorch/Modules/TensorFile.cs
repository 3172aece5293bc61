using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>
/// One tensor of a <c>.dat</c> file: element type, number of dimensions and each dimension as LEB128 numbers, then the
/// elements in memory order.
/// </summary>
internal static class TensorFile
{
    // A span holds less than 2^31 bytes, so large tensors go in pieces.
    private const long ElementsAtOnce = 1 << 24;

    public static void Write(BinaryWriter writer, Tensor tensor)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Leb128.Write(writer, (long)tensor.dtype);
        var shape = tensor.shape;
        Leb128.Write(writer, shape.Length);
        foreach (var size in shape)
        {
            Leb128.Write(writer, size);
        }

        foreach (var piece in Pieces(tensor.cpu().contiguous()))
        {
            writer.Write(piece.bytes);
        }
    }

    public static (ScalarType Type, long[] Shape) ReadHeader(BinaryReader reader)
    {
        var type = (ScalarType)Leb128.Read(reader);
        var shape = new long[Leb128.Read(reader)];
        for (var i = 0; i < shape.Length; i++)
        {
            shape[i] = Leb128.Read(reader);
        }

        return (type, shape);
    }

    /// <summary>
    /// Fills a tensor, wherever it lives and however it is laid out, from the elements that follow a header.
    /// </summary>
    public static void ReadElements(BinaryReader reader, Tensor tensor)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var direct = tensor.device_type == DeviceType.CPU && tensor.is_contiguous();
        var target = direct ? tensor : empty(tensor.shape, tensor.dtype, CPU);
        foreach (var piece in Pieces(target))
        {
            reader.BaseStream.ReadExactly(piece.bytes);
        }

        if (!direct)
        {
            tensor.copy_(target);
        }
    }

    /// <summary>Passes over one tensor.</summary>
    public static void Skip(BinaryReader reader)
    {
        var (type, shape) = ReadHeader(reader);
        SkipElements(reader, type, shape);
    }

    public static void SkipElements(BinaryReader reader, ScalarType type, long[] shape)
    {
        var remaining = shape.Aggregate((long)type.ElementSize(), (bytes, size) => bytes * size);
        if (reader.BaseStream.CanSeek)
        {
            reader.BaseStream.Seek(remaining, SeekOrigin.Current);
            return;
        }

        var buffer = new byte[Math.Min(remaining, 1 << 16)];
        for (; remaining > 0; remaining -= buffer.Length)
        {
            reader.BaseStream.ReadExactly(buffer, 0, (int)Math.Min(remaining, buffer.Length));
        }
    }

    private static IEnumerable<Tensor> Pieces(Tensor contiguous)
    {
        var flat = contiguous.detach().view(-1);
        var count = flat.numel();
        for (long start = 0; start < count; start += ElementsAtOnce)
        {
            yield return flat.narrow(0, start, Math.Min(ElementsAtOnce, count - start));
        }
    }
}
