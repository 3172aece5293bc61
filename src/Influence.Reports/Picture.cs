using System.Buffers.Binary;
using System.IO.Compression;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Reports;

/// <summary>
/// A picture as PNG, 8 bits a channel. .NET has the compression and no encoder; the libraries that have one bring native code for each
/// platform or cannot choose filters, and a signature with three chunks is all that a browser asks for.
/// </summary>
/// <param name="Width">Pixels in a row.</param>
/// <param name="Height">Rows.</param>
/// <param name="Base64">The file.</param>
internal sealed record Picture(int Width, int Height, string Base64)
{
    private const int MostPixels = 1 << 24;

    private static readonly uint[] s_crc = [.. Enumerable.Range(0, 256).Select(CrcOf)];

    public static Picture From(ReadOnlySpan<byte> pixels, int width, int channels)
    {
        if (
            channels is not (1 or 3 or 4)
            || width < 1
            || pixels.Length == 0
            || pixels.Length % ((long)width * channels) != 0
            || pixels.Length > MostPixels * 4L
        )
        {
            throw new InfluenceException(
                $"A picture has 1, 3 or 4 channels and fills whole rows; found {pixels.Length:N0} bytes for rows of {width:N0} pixels of "
                    + $"{channels} channels."
            );
        }

        return new Picture(width, pixels.Length / (width * channels), Convert.ToBase64String(Encode(pixels, width, channels)));
    }

    public static Picture From(Tensor image, (double Low, double High)? range)
    {
        using var scope = NewDisposeScope();
        var planes = image.dim() == 2 ? image.unsqueeze(0) : image;
        if (
            planes.dim() != 3
            || planes.shape[0] is not (1 or 3 or 4)
            || planes.numel() == 0
            || planes.shape[1] * planes.shape[2] > MostPixels
        )
        {
            throw new InfluenceException(
                "A picture is [height, width] or [channels, height, width] with 1, 3 or 4 channels; found "
                    + $"[{string.Join(", ", image.shape)}]. Where channels come last write image.permute(2, 0, 1)."
            );
        }

        var rows = planes.detach().cpu().permute(1, 2, 0).contiguous();
        var bytes = rows.dtype == ScalarType.Byte ? rows : Scaled(rows, range);
        return From(bytes.data<byte>().ToArray(), (int)planes.shape[2], (int)planes.shape[0]);
    }

    private static Tensor Scaled(Tensor rows, (double Low, double High)? range)
    {
        var (low, high) = range ?? (0, 1);
        if (rows.dtype is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.Float16 or ScalarType.BFloat16))
        {
            throw new InfluenceException(
                $"A picture is of bytes or of a float type; found {rows.dtype}. Write image.to_type(ScalarType.Byte)."
            );
        }

        if (!(high > low) || !double.IsFinite(high - low))
        {
            throw new InfluenceException(
                $"The range of a picture goes from black to white, low to high: range: (0, 1); found ({low}, {high})."
            );
        }

        var values = rows.to_type(ScalarType.Float64).data<double>().ToArray();
        var (least, most) = (values.Min(), values.Max());
        var slack = 1e-3 * (high - low);
        if (!(least >= low - slack && most <= high + slack))
        {
            throw new InfluenceException(
                $"A picture's values lie from {low} (black) to {high} (white); found {least:G4} to {most:G4}. Say its own range: "
                    + $"FromImage(image, range: ({Math.Floor(least)}, {Math.Ceiling(most)}))."
            );
        }

        return tensor(Array.ConvertAll(values, value => (byte)Math.Round(255 * Math.Clamp((value - low) / (high - low), 0, 1))));
    }

    private static byte[] Encode(ReadOnlySpan<byte> pixels, int width, int channels)
    {
        var stride = width * channels;
        Span<byte> header = stackalloc byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], pixels.Length / stride);
        header[8] = 8; // Bits a channel.
        header[9] = (byte)(
            channels == 1 ? 0
            : channels == 3 ? 2
            : 6
        );

        // Of few pixels filters often cost more than they save: the shorter file is kept.
        var (plain, filtered) = (Compress(pixels, stride, channels, filter: false), Compress(pixels, stride, channels, filter: true));
        using var png = new MemoryStream();
        png.Write([0x89, (byte)'P', (byte)'N', (byte)'G', (byte)'\r', (byte)'\n', 0x1A, (byte)'\n']);
        WriteChunk(png, "IHDR"u8, header);
        WriteChunk(png, "IDAT"u8, plain.Length <= filtered.Length ? plain : filtered);
        WriteChunk(png, "IEND"u8, []);
        return png.ToArray();
    }

    private static byte[] Compress(ReadOnlySpan<byte> pixels, int stride, int channels, bool filter)
    {
        using var data = new MemoryStream();
        using (var zlib = new ZLibStream(data, CompressionLevel.SmallestSize))
        {
            var row = new byte[stride];
            for (var start = 0; start < pixels.Length; start += stride)
            {
                var now = pixels.Slice(start, stride);
                var above = start == 0 ? default : pixels.Slice(start - stride, stride);
                zlib.WriteByte((byte)(filter ? 4 : 0));
                for (var i = 0; i < stride; i++)
                {
                    var left = i < channels ? 0 : now[i - channels];
                    var up = above.IsEmpty ? 0 : above[i];
                    row[i] = filter ? (byte)(now[i] - Paeth(left, up, i < channels || above.IsEmpty ? 0 : above[i - channels])) : now[i];
                }

                zlib.Write(row);
            }
        }

        return data.ToArray();
    }

    /// <summary>The neighbour that is nearest to left + up - corner.</summary>
    private static int Paeth(int left, int up, int corner)
    {
        var (toLeft, toUp, toCorner) = (Math.Abs(up - corner), Math.Abs(left - corner), Math.Abs(left + up - (2 * corner)));
        return toLeft <= toUp && toLeft <= toCorner ? left
            : toUp <= toCorner ? up
            : corner;
    }

    private static void WriteChunk(MemoryStream png, ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        Span<byte> number = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
        png.Write(number);
        png.Write(type);
        png.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(number, ~Crc(Crc(uint.MaxValue, type), data));
        png.Write(number);
    }

    private static uint Crc(uint crc, ReadOnlySpan<byte> data)
    {
        foreach (var value in data)
        {
            crc = s_crc[(crc ^ value) & 0xFF] ^ (crc >> 8);
        }

        return crc;
    }

    private static uint CrcOf(int value)
    {
        var crc = (uint)value;
        for (var bit = 0; bit < 8; bit++)
        {
            crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB88320;
        }

        return crc;
    }
}
