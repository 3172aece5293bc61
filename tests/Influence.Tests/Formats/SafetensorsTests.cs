using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Influence.Formats;
using Influence.Tests.Golden;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Formats;

public sealed class SafetensorsTests : IDisposable
{
    private static readonly Dictionary<string, string> s_none = [];
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Int64)]
    [InlineData(ScalarType.Int32)]
    [InlineData(ScalarType.Int16)]
    [InlineData(ScalarType.Int8)]
    [InlineData(ScalarType.Byte)]
    [InlineData(ScalarType.Bool)]
    public void EveryDtypeReadsBackAsWritten(ScalarType dtype)
    {
        var values = tensor(new[] { 0, 1.5, -2, 100, 3, 1 }).abs().to_type(dtype).reshape(2, 3);
        var path = _folder.Path("t");
        Safetensors.Save(path, [("plain", values), ("transposed", values.t()), ("scalar", values[1, 1]), ("empty", values[..0])], s_none);

        var read = Safetensors.Load(path).Tensors;

        Assert.Equal(["empty", "plain", "scalar", "transposed"], read.Keys.Order());
        Assert.All(read.Values, t => Assert.Equal(dtype, t.dtype));
        Assert.True(read["plain"].eq(values).all().item<bool>());
        Assert.True(read["transposed"].eq(values.t()).all().item<bool>());
        Assert.Equal([], read["scalar"].shape);
        Assert.True(read["scalar"].eq(values[1, 1]).all().item<bool>());
        Assert.Equal([0, 3], read["empty"].shape);
    }

    [Fact]
    public void TheBytesOfATinyFile()
    {
        var path = _folder.Path("t");
        Safetensors.Save(path, [("w", tensor(new[] { 1f, -2f }))], new Dictionary<string, string> { ["a"] = "b" });

        // The hashes as sha256sum gives them: of the data, and of the list of lengths and texts that stands for the header.
        byte[] data = [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0];
        var digest = SHA256.HashData(data);
        byte[] content =
        [
            1,
            0,
            0,
            0,
            1,
            (byte)'a',
            1,
            (byte)'b',
            1,
            (byte)'w',
            3,
            .. "F32"u8,
            1,
            0,
            0,
            0,
            2,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            .. digest,
        ];
        var (tensors, whole) = (Convert.ToHexStringLower(digest), Convert.ToHexStringLower(SHA256.HashData(content)));
        var header =
            "{\"__metadata__\":{\"a\":\"b\",\"influence.sha256.tensors\":\""
            + tensors
            + "\",\"influence.sha256\":\""
            + whole
            + "\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
        var padded = header.PadRight((header.Length + 7) / 8 * 8);
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, padded.Length);
        Assert.Equal([.. length, .. Encoding.UTF8.GetBytes(padded), .. data], File.ReadAllBytes(path));
    }

    /// <summary>Data begin at a multiple of eight, so that other readers may map the file.</summary>
    [Fact]
    public void TheHeaderIsAligned()
    {
        for (var length = 1; length <= 16; length++)
        {
            var path = _folder.Path("t");
            Safetensors.Save(path, [(new string('n', length), tensor(1.0))], s_none);
            Assert.Equal(0, BinaryPrimitives.ReadInt64LittleEndian(File.ReadAllBytes(path)) % 8);
            Assert.Equal(1.0, Safetensors.Load(path).Tensors.Values.Single().item<double>());
        }
    }

    [Fact]
    public void MetadataAndNamesOfAnyText()
    {
        const string Text = "\"quotes\", \\ backslash, line\nbreak, Grüße 数据 <script>";
        var path = _folder.Path("t");
        Safetensors.Save(path, [(Text, tensor(1.0))], new Dictionary<string, string> { [Text] = Text, ["empty"] = string.Empty });

        var (tensors, metadata) = Safetensors.Load(path);

        Assert.Equal(Text, Assert.Single(tensors).Key);
        Assert.Equal(Text, metadata[Text]);
        Assert.Equal(string.Empty, metadata["empty"]);
        Assert.Equal(metadata, Safetensors.LoadMetadata(path));
    }

    [Fact]
    public void AFileOfAnotherWriter()
    {
        if (GoldenFolder.Find("w1") is not { } golden)
        {
            return;
        }

        var read = Safetensors.Load(golden.Path("weights.safetensors")).Tensors;

        Assert.Equal(["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight", "fc3.bias", "fc3.weight"], read.Keys.Order());
        Assert.Equal([256, 784], read["fc1.weight"].shape);
        Assert.Equal(ScalarType.Float32, read["fc1.weight"].dtype);
        Assert.InRange(read["fc1.weight"].std().item<float>(), 0.01f, 0.2f);
    }

    [Fact]
    public void EveryTruncationIsNoticed()
    {
        var path = _folder.Path("t");
        Safetensors.Save(
            path,
            [("w", tensor(new[] { 1f, -2f })), ("b", tensor(new[] { 3.0 }))],
            new Dictionary<string, string> { ["a"] = "b" }
        );
        var whole = File.ReadAllBytes(path);
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            var thrown = Assert.Throws<InfluenceException>(() => Safetensors.Load(path));
            Assert.Contains(path, thrown.Message, StringComparison.Ordinal);
            Assert.Throws<InfluenceException>(() => Safetensors.LoadMetadata(path));
        }
    }

    [Theory]
    [InlineData("""not json""")]
    [InlineData("""[1, 2]""")]
    [InlineData("""{"w": 3}""")]
    [InlineData("""{"w": {}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[0]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":8}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":2,"data_offsets":[0,8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[1.5],"data_offsets":[0,6]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[-2],"data_offsets":[0,-8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,9223372036854775807]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[9223372036854775808,9223372036854775816]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b": {"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b": {"dtype":"F32","shape":[1],"data_offsets":[12,16]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[4611686018427387904, 4611686018427387904, 0],"data_offsets":[0,0]}}""")]
    [InlineData("""{"w": {"dtype":"U9","shape":[2],"data_offsets":[0,9223372036854775807]}}""")]
    [InlineData("""{"w": {"dtype":"F32","dtype":"I32","shape":[4],"data_offsets":[0,16]}}""")]
    [InlineData("""{"__metadata__": {"a": "1", "a": "2"}}""")]
    [InlineData("""{"w": {"dtype":7,"shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[4611686018427387904, 2],"data_offsets":[0,0]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,0]}}""")]
    [InlineData("""{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"__metadata__": 5}""")]
    [InlineData("""{"__metadata__": {"a": 5}}""")]
    public void AHeaderThatMakesNoSense(string header)
    {
        var path = _folder.Path("t");
        File.WriteAllBytes(path, [(byte)header.Length, 0, 0, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(header), .. new byte[16]]);

        var thrown = Assert.Throws<InfluenceException>(() => Safetensors.Load(path));
        Assert.Matches("not a safetensors file|truncated", thrown.Message);
    }

    /// <summary>Types of other tools stand beside tensors that can be read; asked for, they are named.</summary>
    [Theory]
    [InlineData("F8_E4M3", 8)]
    [InlineData("U32", 2)]
    [InlineData("U9", 3)]
    [InlineData("\\u001b[31m", 3)]
    public void OtherTypesBesideGoodTensors(string type, int numbers)
    {
        var path = _folder.Path("t");
        Write(
            path,
            $"{{\"odd\":{{\"dtype\":\"{type}\",\"shape\":[{numbers}],\"data_offsets\":[0,8]}},\"w\":{{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}}}",
            [.. new byte[8], 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]
        );
        using var file = SafetensorsFile.Open(path);

        Assert.Equal([1f, -2f], file.Read("w").data<float>().ToArray());
        Assert.StartsWith("unverified", file.Integrity, StringComparison.Ordinal);
        var thrown = Assert.Throws<InfluenceException>(() => file.Read("odd"));
        Assert.Contains("\"odd\"", thrown.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', thrown.Message);
        Assert.Throws<InfluenceException>(() => Safetensors.Load(path));
    }

    /// <summary>A hundred entries over the same megabyte would take a hundred megabytes: nothing is read of such a file.</summary>
    [Fact]
    public void OverlappingBytesAreRefusedBeforeAnythingIsAllocated()
    {
        var path = _folder.Path("t");
        var entries = string.Join(
            ',',
            Enumerable.Range(0, 100).Select(k => $"\"t{k}\":{{\"dtype\":\"U8\",\"shape\":[1048576],\"data_offsets\":[0,1048576]}}")
        );
        Write(path, $"{{{entries}}}", new byte[1 << 20]);
        var before = LiveTensors.OnThisThread;
        Assert.Contains(
            "not a safetensors file",
            Assert.Throws<InfluenceException>(() => Safetensors.Load(path)).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    /// <summary>Whatever byte is changed, and to whatever it is flipped, nothing else than what was written is read.</summary>
    [Fact]
    public void EveryFlippedByteIsNoticed()
    {
        var path = _folder.Path("t");
        var (w, b) = (tensor(new[] { 1f, -2f }), tensor(new[] { 3L }));
        Safetensors.Save(path, [("w", w), ("b", b)], new Dictionary<string, string> { ["rate"] = "0.1" });
        var whole = File.ReadAllBytes(path);
        var loaded = 0;
        for (var at = 0; at < whole.Length; at++)
        {
            foreach (var flip in new byte[] { 1, 0x20, 0xff })
            {
                var bytes = (byte[])whole.Clone();
                bytes[at] ^= flip;
                File.WriteAllBytes(path, bytes);
                try
                {
                    using var scope = NewDisposeScope();
                    var (tensors, metadata) = Safetensors.Load(path);
                    loaded++;
                    Assert.Equal([("rate", "0.1")], metadata.Select(m => (m.Key, m.Value)));
                    Assert.Equal([1f, -2f], tensors["w"].data<float>().ToArray());
                    Assert.Equal([3L], tensors["b"].data<long>().ToArray());
                }
                catch (InfluenceException refused)
                {
                    Assert.Contains(path, refused.Message, StringComparison.Ordinal);
                }
            }
        }

        Assert.Equal(0, loaded);
    }

    /// <summary>What another tool changed is told from what it copied: the order of tensors and of metadata does not matter.</summary>
    [Fact]
    public void ACopyInAnotherOrderIsStillVerified()
    {
        var path = _folder.Path("t");
        Safetensors.Save(
            path,
            [("w", tensor(new[] { 1f })), ("b", tensor(new[] { 2f }))],
            new Dictionary<string, string> { ["x"] = "1", ["a"] = "2" }
        );
        var text = Encoding.UTF8.GetString(File.ReadAllBytes(path).AsSpan(8..^8)).TrimEnd();
        var sums = text[text.IndexOf("\"influence.sha256.tensors", StringComparison.Ordinal)..text.IndexOf('}', StringComparison.Ordinal)];
        Write(
            path,
            $"{{\"b\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}},\"w\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}},\"__metadata__\":{{\"a\":\"2\",{sums},\"x\":\"1\"}}}}",
            [0, 0, 0, 0x40, 0, 0, 0x80, 0x3f]
        );
        using var file = SafetensorsFile.Open(path);
        Assert.Empty(file.Integrity);
        Assert.Equal(1f, file.Read("w").item<float>());
    }

    /// <summary>A tensor of more than one piece of reading and writing.</summary>
    [Fact]
    public void LargeTensorsGoInPieces()
    {
        var path = _folder.Path("t");
        var values = arange(0, 2_500_001, 1, ScalarType.Int64).to_type(ScalarType.Float32);
        Safetensors.Save(path, [("before", tensor(1f)), ("w", values)], s_none);
        Assert.True(Safetensors.Load(path).Tensors["w"].eq(values).all().item<bool>());
    }

    [Fact]
    public void AFileOfAnotherFormat()
    {
        var path = _folder.Path("t");
        foreach (
            var bytes in new byte[][]
            {
                [.. "PK\u0003\u0004 and so on, as a zip file begins"u8],
                [.. new byte[64]],
                [.. Enumerable.Repeat((byte)0xff, 64)],
                [3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d],
            }
        )
        {
            File.WriteAllBytes(path, bytes);
            Assert.Contains(
                "not a safetensors file",
                Assert.Throws<InfluenceException>(() => Safetensors.Load(path)).Message,
                StringComparison.Ordinal
            );
        }
    }

    [Fact]
    public void AFileThatIsNotThere()
    {
        Assert.Contains(
            "Cannot read",
            Assert.Throws<InfluenceException>(() => Safetensors.Load(_folder.Path("none"))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "Cannot read",
            Assert.Throws<InfluenceException>(() => Safetensors.Load(_folder.FullName)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void ADtypeThatTheFormatDoesNotHave()
    {
        var path = _folder.Path("t");
        var thrown = Assert.Throws<InfluenceException>(() =>
            Safetensors.Save(path, [("z", zeros([2], ScalarType.ComplexFloat64))], s_none)
        );
        Assert.Contains("ComplexFloat64", thrown.Message, StringComparison.Ordinal);
        Assert.Empty(_folder.Files);
    }

    [Fact]
    public void ReadingAndWritingLeaveNoTensorBehind()
    {
        var path = _folder.Path("t");
        var values = tensor(new[] { 1f, -2f });
        var before = LiveTensors.OnThisThread;
        Safetensors.Save(path, [("w", values)], s_none);
        Assert.Equal(before, LiveTensors.OnThisThread);
        foreach (var read in Safetensors.Load(path).Tensors.Values)
        {
            read.Dispose();
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private static void Write(string path, string header, byte[] data)
    {
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, Encoding.UTF8.GetByteCount(header));
        File.WriteAllBytes(path, [.. length, .. Encoding.UTF8.GetBytes(header), .. data]);
    }
}
