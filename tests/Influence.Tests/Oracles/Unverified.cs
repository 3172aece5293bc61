using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;

namespace Influence.Tests.Oracles;

/// <summary>Files as earlier versions wrote them.</summary>
internal static class Unverified
{
    /// <summary>Takes the checksums out of a safetensors file.</summary>
    public static void Strip(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        var header = JsonNode.Parse(Encoding.UTF8.GetString(bytes, 8, length))!.AsObject();
        var metadata = header["__metadata__"]!.AsObject();
        metadata.Remove("influence.sha256");
        metadata.Remove("influence.sha256.tensors");
        var stripped = Encoding.UTF8.GetBytes(header.ToJsonString());
        var prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, stripped.Length);
        File.WriteAllBytes(path, [.. prefix, .. stripped, .. bytes.AsSpan(8 + length)]);
    }
}
