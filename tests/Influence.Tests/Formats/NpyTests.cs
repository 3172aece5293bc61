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
    [InlineData(ScalarType.Float32, new long[] { 0, 4 })]
    [InlineData(ScalarType.Float32, new long[] { 4, 0 })]
    [InlineData(ScalarType.Float64, new long[] { 0 })]
    [InlineData(ScalarType.Float64, new long[] { })]
    [InlineData(ScalarType.Float32, new long[] { 3, 1_500_001 })]
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
        Npy.Save(
            _folder.Path("a.npy"),
            tensor(
                    new[,]
                    {
                        { 1.0, -2.0 },
                    }
                )
                .t()
        );

        var header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }".PadRight(128 - 10 - 1) + "\n";
        byte[] expected =
        [
            0x93,
            .. "NUMPY"u8,
            1,
            0,
            (byte)header.Length,
            0,
            .. Encoding.ASCII.GetBytes(header),
            0,
            0,
            0,
            0,
            0,
            0,
            0xf0,
            0x3f,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0xc0,
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

    /// <summary>Headers that Python writes and reads: any order of keys, either quotes, with and without spaces, a long integer of Python
    /// 2.</summary>
    [Theory]
    [InlineData(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n")]
    [InlineData(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n")]
    [InlineData(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n")]
    [InlineData(1, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}")]
    [InlineData(1, "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3)}")]
    [InlineData(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }   \n")]
    [InlineData(1, "  {  'descr'  :'<f4' , 'fortran_order' : False,'shape':( 2 , 3, ) }")]
    public void HeadersInEveryNotation(byte version, string header)
    {
        Write(version, header, [1, 2, 3, 4, 5, 6]);
        var read = Npy.Load(_folder.Path("a.npy"));
        Assert.Equal([2, 3], read.shape);
        Assert.Equal([1f, 2, 3, 4, 5, 6], read.data<float>().ToArray());
    }

    /// <summary>As numpy.asfortranarray([[1, 2, 3], [4, 5, 6]]) is written: column by column.</summary>
    [Fact]
    public void TheFirstDimensionMayVaryFastest()
    {
        Write(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", [1, 4, 2, 5, 3, 6]);
        Assert.Equal([1f, 2, 3, 4, 5, 6], Npy.Load(_folder.Path("a.npy")).data<float>().ToArray());
        Write(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1, 3), }", [1, 4, 2, 5, 3, 6]);
        var deep = Npy.Load(_folder.Path("a.npy"));
        Assert.Equal([2, 1, 3], deep.shape);
        Assert.Equal([1f, 2, 3, 4, 5, 6], deep.data<float>().ToArray());
        Write(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }", [1, 2, 3]);
        Assert.Equal([1f, 2, 3], Npy.Load(_folder.Path("a.npy")).data<float>().ToArray());
    }

    [Fact]
    public void HalfPrecisionReads()
    {
        var header = "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }";
        File.WriteAllBytes(
            _folder.Path("a.npy"),
            [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. Encoding.ASCII.GetBytes(header), 0, 0x3c, 0, 0xc0]
        );
        Assert.Equal([1f, -2f], Npy.Load(_folder.Path("a.npy")).to_type(ScalarType.Float32).data<float>().ToArray());
    }

    [Fact]
    public void NothingIsReadBeyondWhatTheFileHas()
    {
        // The header of version 2 has four bytes of length.
        foreach (var length in new uint[] { 60, 1 << 21, int.MaxValue, uint.MaxValue })
        {
            var bytes = new byte[80];
            ((byte[])[0x93, .. "NUMPY"u8, 2, 0]).CopyTo(bytes, 0);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), length);
            File.WriteAllBytes(_folder.Path("a.npy"), bytes);
            Assert.Throws<InfluenceException>(() => Npy.Load(_folder.Path("a.npy")));
        }

        Write(4, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", [1]);
        Assert.Contains(
            "version 4",
            Assert.Throws<InfluenceException>(() => Npy.Load(_folder.Path("a.npy"))).Message,
            StringComparison.Ordinal
        );
        Write(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", [1, 2]);
        Assert.Contains(
            "4 bytes more",
            Assert.Throws<InfluenceException>(() => Npy.Load(_folder.Path("a.npy"))).Message,
            StringComparison.Ordinal
        );
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
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4 3, 0), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -1), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 1), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (,), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), 'shape': (1, 2), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), 'more': 'text', }")]
    [InlineData("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 1), }")]
    [InlineData("{'descr': '<f4', 'shape': (2, 1), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), } and more")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), ")]
    [InlineData("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000000000000000000000000,), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4, 0), }")]
    [InlineData("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 1), }")]
    [InlineData("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }")]
    [InlineData("something else")]
    public void AnArrayOfAnotherKindIsRefused(string header)
    {
        File.WriteAllBytes(
            _folder.Path("a.npy"),
            [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. Encoding.ASCII.GetBytes(header), .. new byte[8]]
        );
        Assert.Contains(
            "a.npy",
            Assert.Throws<InfluenceException>(() => Npy.Load(_folder.Path("a.npy"))).Message,
            StringComparison.Ordinal
        );
    }

    private void Write(byte version, string header, float[] values)
    {
        byte[] length = version == 1 ? [(byte)header.Length, 0] : [(byte)header.Length, 0, 0, 0];
        File.WriteAllBytes(
            _folder.Path("a.npy"),
            [0x93, .. "NUMPY"u8, version, 0, .. length, .. Encoding.ASCII.GetBytes(header), .. values.SelectMany(BitConverter.GetBytes)]
        );
    }
}
