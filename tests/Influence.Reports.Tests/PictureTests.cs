using System.Buffers.Binary;
using System.IO.Compression;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Reports.Tests;

/// <summary>Pictures against a decoder of the format's five filters, written apart from the encoder; browsers decode them in the tests of
/// the page.</summary>
public class PictureTests
{
    [Theory]
    [InlineData(1, 28, 28)]
    [InlineData(3, 17, 9)]
    [InlineData(4, 1, 5)]
    [InlineData(1, 300, 2)]
    public void PixelsComeBack(int channels, int width, int height)
    {
        var random = new Random(width);
        var noise = new byte[channels * width * height];
        random.NextBytes(noise);
        byte[] smooth = [.. noise.Select((_, i) => (byte)(i / channels % width * 3))];

        Assert.Equal(noise, Decode(View(noise).Image!.Base64, channels, width, height));
        Assert.Equal(smooth, Decode(View(smooth).Image!.Base64, channels, width, height));

        ExampleView View(byte[] pixels) => ExampleView.FromImage(pixels, width, channels);
    }

    [Fact]
    public void TensorsAreScaledFromTheirRange()
    {
        using var scope = NewDisposeScope();
        var image = tensor(new[] { -1f, 0, 1, 0.5f, 0, -0.5f }).reshape(1, 2, 3);
        var planes = arange(12, ScalarType.Byte).reshape(3, 2, 2);

        Assert.Equal([0, 128, 255, 191, 128, 64], Decode(ExampleView.FromImage(image, (-1, 1)).Image!.Base64, 1, 3, 2));
        Assert.Equal([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11], Decode(ExampleView.FromImage(planes).Image!.Base64, 3, 2, 2));
        Assert.Contains(
            "range: (-1, 1)",
            Assert.Throws<InfluenceException>(() => ExampleView.FromImage(image)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "permute(2, 0, 1)",
            Assert.Throws<InfluenceException>(() => ExampleView.FromImage(zeros(28, 28, 3))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "Int64",
            Assert.Throws<InfluenceException>(() => ExampleView.FromImage(zeros(2, 2, ScalarType.Int64))).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => ExampleView.FromImage(full(2, 2, float.NaN)));
        Assert.Throws<InfluenceException>(() => ExampleView.FromImage(new byte[5], 2));
    }

    private static byte[] Decode(string base64, int channels, int width, int height)
    {
        var png = Convert.FromBase64String(base64);
        Assert.Equal([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], png[..8]);
        var data = Array.Empty<byte>();
        for (var at = 8; at < png.Length; )
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(at));
            var type = System.Text.Encoding.ASCII.GetString(png, at + 4, 4);
            var chunk = png.AsSpan(at + 8, length);
            Assert.Equal(Crc(png.AsSpan(at + 4, length + 4)), BinaryPrimitives.ReadUInt32BigEndian(png.AsSpan(at + 8 + length)));
            if (type == "IHDR")
            {
                Assert.Equal(
                    (width, height),
                    (BinaryPrimitives.ReadInt32BigEndian(chunk), BinaryPrimitives.ReadInt32BigEndian(chunk[4..]))
                );
            }

            data = type == "IDAT" ? chunk.ToArray() : data;
            at += length + 12;
        }

        using var zlib = new ZLibStream(new MemoryStream(data), CompressionMode.Decompress);
        var stride = width * channels;
        var (pixels, row) = (new byte[stride * height], new byte[stride]);
        for (var y = 0; y < height; y++)
        {
            var filter = zlib.ReadByte();
            zlib.ReadExactly(row);
            for (var i = 0; i < stride; i++)
            {
                int left = i < channels ? 0 : pixels[(y * stride) + i - channels];
                int up = y == 0 ? 0 : pixels[((y - 1) * stride) + i];
                int corner = y == 0 || i < channels ? 0 : pixels[((y - 1) * stride) + i - channels];
                var p = left + up - corner;
                var paeth = new[] { left, up, corner }.MinBy(c => Math.Abs(p - c));
                pixels[(y * stride) + i] = (byte)(
                    row[i]
                    + (
                        filter switch
                        {
                            0 => 0,
                            1 => left,
                            2 => up,
                            3 => (left + up) / 2,
                            _ => paeth,
                        }
                    )
                );
            }
        }

        Assert.Equal(-1, zlib.ReadByte());
        return pixels;
    }

    private static uint Crc(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB88320;
            }
        }

        return ~crc;
    }
}
