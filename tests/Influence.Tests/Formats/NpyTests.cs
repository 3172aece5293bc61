using System.Buffers.Binary;
using System.Text;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Formats;

public sealed class NpyTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [InlineData(ScalarType.Float32, new long[] { 5 })]
    [InlineData(ScalarType.Float32, new long[] { 3, 4 })]
    [InlineData(ScalarType.Float64, new long[] { 1, 7 })]
    [InlineData(ScalarType.Float64, new long[] { 2, 3, 4 })]
    public void ArraysReadBackAsWritten(ScalarType dtype, long[] shape)
    {
        var values = randn(shape, dtype);
        Npy.Save(_folder.Path("a.npy"), values);
        var read = Npy.Load(_folder.Path("a.npy"));

        Assert.Equal(dtype, read.dtype);
        Assert.Equal(shape, read.shape);
        Assert.True(read.eq(values).all().item<bool>());
    }

    /// <summary>Byte for byte what numpy.save writes: magic, version 1.0, header in Python's notation, filled up to 64 bytes.</summary>
    [Fact]
    public void TheBytesOfATinyFile()
    {
        Npy.Save(_folder.Path("a.npy"), tensor(new[,] { { 1.0, -2.0 } }).t());

        var header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }".PadRight(128 - 10 - 1) + "\n";
        byte[] expected =
        [
            0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. Encoding.ASCII.GetBytes(header),
            0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0,
        ];
        Assert.Equal(expected, File.ReadAllBytes(_folder.Path("a.npy")));
    }

    [Fact]
    public void AVectorsShapeEndsInAComma()
    {
        Npy.Save(_folder.Path("a.npy"), tensor(new[] { 1f, 2f, 3f }));
        var text = Encoding.ASCII.GetString(File.ReadAllBytes(_folder.Path("a.npy")), 10, 118);
        Assert.StartsWith("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", text, StringComparison.Ordinal);
    }

    [Fact]
    public void DataBeginAtAMultipleOf64()
    {
        foreach (var columns in new long[] { 1, 10, 1000, 100000 })
        {
            Npy.Save(_folder.Path("a.npy"), zeros(1, columns));
            var bytes = File.ReadAllBytes(_folder.Path("a.npy"));
            var start = 10 + BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(8));
            Assert.Equal(0, start % 64);
            Assert.Equal((byte)'\n', bytes[start - 1]);
            Assert.Equal(columns * 4, bytes.Length - start);
        }
    }

    [Fact]
    public void AVersionTwoHeaderReads()
    {
        var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }\n";
        File.WriteAllBytes(
            _folder.Path("a.npy"), [0x93, .. "NUMPY"u8, 2, 0, (byte)header.Length, 0, 0, 0, .. Encoding.ASCII.GetBytes(header), 0, 0, 0x80, 0x3f]);
        Assert.Equal(1f, Npy.Load(_folder.Path("a.npy")).item<float>());
    }

    [Fact]
    public void EveryTruncationIsNoticed()
    {
        Npy.Save(_folder.Path("a.npy"), randn(2, 3));
        var whole = File.ReadAllBytes(_folder.Path("a.npy"));
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(_folder.Path("a.npy"), whole[..length]);
            Assert.Throws<InfluenceException>(() => Npy.Load(_folder.Path("a.npy")));
        }
    }

    [Theory]
    [InlineData("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }")]
    [InlineData("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 1), }")]
    [InlineData("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }")]
    [InlineData("something else")]
    public void AnArrayOfAnotherKindIsRefused(string header)
    {
        File.WriteAllBytes(
            _folder.Path("a.npy"), [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. Encoding.ASCII.GetBytes(header), .. new byte[8]]);
        Assert.Contains("a.npy", Assert.Throws<InfluenceException>(() => Npy.Load(_folder.Path("a.npy"))).Message, StringComparison.Ordinal);
    }
}
