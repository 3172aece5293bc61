using System.Buffers.Binary;
using System.IO.Compression;

namespace MislabelledImages;

/// <summary>Writes grey pictures as PNG, 8 bits a pixel: a signature and three chunks.</summary>
internal static class Png
{
    private const uint CrcPolynomial = 0xEDB88320;

    /// <summary>The picture as the address of an image that lies within the page itself.</summary>
    public static string ToDataUri(ReadOnlySpan<byte> pixels, int width) =>
        $"data:image/png;base64,{Convert.ToBase64String(Encode(pixels, width))}";

    public static byte[] Encode(ReadOnlySpan<byte> pixels, int width)
    {
        var height = pixels.Length / width;
        Span<byte> header = stackalloc byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], height);
        header[8] = 8; // Bits a pixel; the rest stays 0: grey, deflate, the usual filters, not interlaced.

        using var png = new MemoryStream();
        png.Write([0x89, (byte)'P', (byte)'N', (byte)'G', (byte)'\r', (byte)'\n', 0x1A, (byte)'\n']);
        WriteChunk(png, "IHDR"u8, header);
        WriteChunk(png, "IDAT"u8, Compress(pixels, width));
        WriteChunk(png, "IEND"u8, []);
        return png.ToArray();
    }

    private static byte[] Compress(ReadOnlySpan<byte> pixels, int width)
    {
        using var data = new MemoryStream();
        using (var zlib = new ZLibStream(data, CompressionLevel.SmallestSize))
        {
            for (var start = 0; start < pixels.Length; start += width)
            {
                zlib.WriteByte(0); // This row's filter: none.
                zlib.Write(pixels.Slice(start, width));
            }
        }

        return data.ToArray();
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
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ CrcPolynomial;
            }
        }

        return crc;
    }
}
