using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>NumPy's .npy format, version 1.0: float32 and float64 arrays, little-endian, row-major.</summary>
internal static partial class Npy
{
    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    /// <summary>Writes a float32 or float64 tensor.</summary>
    public static void Save(string path, Tensor values) => AtomicFile.Write(path, stream =>
    {
        var type = values.dtype == ScalarType.Float64 ? "<f8" : "<f4";
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

        using var scope = NewDisposeScope();
        var rows = values.detach().cpu().contiguous().reshape(values.shape[0], -1);
        for (long row = 0; row < rows.shape[0]; row++)
        {
            using var one = rows.select(0, row).clone();
            stream.Write(one.bytes);
        }
    });

    /// <summary>Reads a float32 or float64 array; the caller owns the tensor.</summary>
    public static Tensor Load(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }

        if (bytes.Length < 12 || !bytes.AsSpan(0, 6).SequenceEqual(Magic))
        {
            throw new InfluenceException($"{path} is not a .npy file: it does not begin as one.");
        }

        var (start, size) = bytes[6] == 1
            ? (10, BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(8)))
            : (12, (int)BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8)));
        if (size < 0 || bytes.Length < start + size)
        {
            throw new InfluenceException($"{path} is truncated: its header is cut off.");
        }

        var header = Encoding.ASCII.GetString(bytes, start, size);
        var match = HeaderPattern().Match(header);
        if (!match.Success || header.Contains("'fortran_order': True", StringComparison.Ordinal))
        {
            throw new InfluenceException(
                $"{path} holds {header.Trim()}; expected a row-major array of float32 or float64. Write numpy.save(path, numpy.ascontiguousarray(x, dtype='float32')).");
        }

        var shape = match.Groups["shape"].Value
            .Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Select(d => Int128.Parse(d, CultureInfo.InvariantCulture))
            .ToArray();
        var type = match.Groups["size"].Value == "8" ? ScalarType.Float64 : ScalarType.Float32;
        var expected = start + size + shape.Aggregate((Int128)(type == ScalarType.Float64 ? 8 : 4), (a, b) => a > long.MaxValue ? a : a * b);
        if (bytes.Length < expected)
        {
            throw new InfluenceException($"{path} is truncated: its header speaks of {expected:N0} bytes, the file has {bytes.Length:N0}.");
        }

        var values = empty([.. shape.Select(d => (long)d)], type);
        values.bytes = bytes.AsSpan(start + size, (int)(expected - start - size));
        return values;
    }

    [GeneratedRegex(@"'descr': '<f(?<size>[48])'.*'shape': \((?<shape>[0-9, ]*)\)")]
    private static partial Regex HeaderPattern();
}
