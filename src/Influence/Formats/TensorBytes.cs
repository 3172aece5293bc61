using System.Security.Cryptography;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>A tensor's bytes, row-major and little-endian, to a stream and from one: in pieces, without a copy of the whole.</summary>
internal static class TensorBytes
{
    private const long Piece = 1 << 22;

    /// <summary>Writes a tensor of any device and layout.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="value">The tensor.</param>
    /// <param name="size">Bytes of one number.</param>
    /// <param name="hash">Told of every byte.</param>
    public static void Write(Stream stream, Tensor value, int size, IncrementalHash? hash = null)
    {
        using var scope = NewDisposeScope();
        var flat = value.detach().cpu().contiguous().reshape(value.numel());
        for (long start = 0; start < flat.shape[0]; start += Piece / size)
        {
            using var piece = flat.narrow(0, start, Math.Min(Piece / size, flat.shape[0] - start));
            var bytes = piece.bytes;
            hash?.AppendData(bytes);
            stream.Write(bytes);
        }
    }

    /// <summary>Reads a tensor; the caller owns it, and has checked that the stream has as many bytes.</summary>
    /// <param name="stream">Where from.</param>
    /// <param name="path">The file, for messages.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="type">Its type.</param>
    /// <param name="size">Bytes of one number.</param>
    /// <param name="hash">Told of every byte.</param>
    /// <exception cref="InfluenceException">It does not fit into this machine's memory, or the file ends early.</exception>
    public static Tensor Read(Stream stream, string path, long[] shape, ScalarType type, int size, IncrementalHash? hash = null)
    {
        var needed = shape.Aggregate((Int128)size, (a, b) => a * b);
        if (needed > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
        {
            throw new InfluenceException(
                $"{path} holds a tensor of {needed:N0} bytes; this machine has {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes:N0} bytes "
                    + "of memory."
            );
        }

        using var scope = NewDisposeScope();
        var tensor = empty(shape, type);
        var flat = tensor.reshape((long)needed / size);
        try
        {
            for (long start = 0; start < flat.shape[0]; start += Piece / size)
            {
                using var piece = flat.narrow(0, start, Math.Min(Piece / size, flat.shape[0] - start));
                var bytes = piece.bytes;
                stream.ReadExactly(bytes);
                hash?.AppendData(bytes);
            }
        }
        catch (IOException exception)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }

        return tensor.MoveToOuterDisposeScope();
    }
}
