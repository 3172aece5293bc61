using System.Buffers.Binary;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>
/// NumPy's .npy format, little-endian: float32 and float64 arrays are written, in version 1.0 and row-major; float16 too, versions 1
/// to 3 and both orders are read.
/// </summary>
internal static class Npy
{
    private const int LongestHeader = 1 << 20;

    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Writes a float32 or float64 tensor.</summary>
    public static void Save(string path, Tensor values) =>
        AtomicFile.Write(
            path,
            stream =>
            {
                var (type, size) = values.dtype == ScalarType.Float64 ? ("<f8", 8) : ("<f4", 4);
                var shape = string.Join(", ", values.shape) + (values.dim() == 1 ? "," : string.Empty);
                var header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({shape}), }}";

                // Magic, version, length and header together fill a multiple of 64 bytes.
                var padded = header.PadRight(((10 + header.Length + 1 + 63) / 64 * 64) - 11) + "\n";
                stream.Write(Magic);
                stream.Write([1, 0]);
                Span<byte> length = stackalloc byte[2];
                BinaryPrimitives.WriteUInt16LittleEndian(length, (ushort)padded.Length);
                stream.Write(length);
                stream.Write(Encoding.ASCII.GetBytes(padded));
                TensorBytes.Write(stream, values, size);
            }
        );

    /// <summary>Reads an array of float16, float32 or float64; the caller owns the tensor.</summary>
    /// <exception cref="InfluenceException">The file is missing, truncated, longer than it says, or something else.</exception>
    public static Tensor Load(string path)
    {
        try
        {
            using var stream = SharedFile.OpenRead(path);
            var header = ReadHeader(stream, path);
            var expected = stream.Position + header.Bytes;
            if (stream.Length != expected)
            {
                throw new InfluenceException(
                    stream.Length < expected
                        ? $"{path} is truncated: its header speaks of {expected:N0} bytes, the file has {stream.Length:N0}."
                        : $"{path} has {stream.Length - expected:N0} bytes more than its header speaks of. Save one array in a file: "
                            + "numpy.save(path, x)."
                );
            }

            using var scope = NewDisposeScope();
            var shape = header.Fortran ? [.. header.Shape.Reverse()] : header.Shape;
            var values = TensorBytes.Read(stream, path, shape, header.Type, header.Size);
            if (header.Fortran && shape.Length > 1)
            {
                values = values.permute([.. Enumerable.Range(0, shape.Length).Reverse().Select(d => (long)d)]).contiguous();
            }

            return values.MoveToOuterDisposeScope();
        }
        catch (Exception exception)
            when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }
    }

    private static NpyHeader ReadHeader(FileStream stream, string path)
    {
        Span<byte> prefix = stackalloc byte[12];
        var read = stream.ReadAtLeast(prefix, prefix.Length, throwOnEndOfStream: false);
        if (read < 10 || !prefix[..6].SequenceEqual(Magic))
        {
            throw new InfluenceException($"{path} is not a .npy file: it does not begin as one.");
        }

        if (prefix[6] is < 1 or > 3)
        {
            throw new InfluenceException($"{path} is of version {prefix[6]} of the .npy format; versions 1, 2 and 3 can be read.");
        }

        var (start, size) =
            prefix[6] == 1
                ? (10, BinaryPrimitives.ReadUInt16LittleEndian(prefix[8..]))
                : (12, read < 12 ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(prefix[8..]));
        if (size > LongestHeader || stream.Length < start + size)
        {
            throw new InfluenceException($"{path} is truncated: its header is cut off, or its length of {size:N0} bytes makes no sense.");
        }

        var bytes = new byte[size];
        stream.Position = start;
        stream.ReadExactly(bytes);
        var header = Encoding.UTF8.GetString(bytes);
        return NpyHeader.Parse(header)
            ?? throw new InfluenceException(
                $"{path} holds {PlainText.Name(header.Trim())}; expected an array of float16, float32 or float64. Write numpy.save(path, "
                    + "numpy.asarray(x, dtype='float32'))."
            );
    }
}
