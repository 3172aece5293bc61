using System.Security.Cryptography;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>
/// The safetensors format: a JSON header, then the tensors' bytes, little-endian and row-major. What is written here has
/// checksums in its metadata (<see cref="SafetensorsChecksum"/>).
/// </summary>
internal static class Safetensors
{
    /// <summary>Refuses a name that says another format, so that nobody looks for CSV in it.</summary>
    /// <param name="path">The name.</param>
    /// <param name="others">What else the call can write, as a sentence.</param>
    public static void CheckName(string path, string others = "")
    {
        if (!path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))
        {
            throw new InfluenceException(
                $"{Path.GetFileName(path)}: the name's ending says the format. Write a name that ends in "
                    + $".safetensors.{(others.Length == 0 ? string.Empty : $" {others}")}"
            );
        }
    }

    /// <summary>Writes tensors, of any device and layout, with a map of strings.</summary>
    public static void Save(string path, IReadOnlyList<(string Name, Tensor Value)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var entries = Entries(tensors);
        AtomicFile.Write(
            path,
            stream =>
            {
                // The hashes are known once the data are written: their place is kept free, as they all have the same length.
                var digests = entries.Select(_ => new byte[SHA256.HashSizeInBytes]).ToArray();
                stream.Write(SafetensorsHeader.ToBytes(entries, SafetensorsChecksum.AddTo(metadata, entries, digests)));
                using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                for (var k = 0; k < digests.Length; k++)
                {
                    TensorBytes.Write(stream, tensors[k].Value, SafetensorsType.Of(tensors[k].Value.dtype).Size, hash);
                    digests[k] = hash.GetHashAndReset();
                }

                stream.Position = 0;
                stream.Write(SafetensorsHeader.ToBytes(entries, SafetensorsChecksum.AddTo(metadata, entries, digests)));
            }
        );
    }

    /// <summary>Reads every tensor, on the CPU; the caller owns them. Checks the whole layout first.</summary>
    public static (Dictionary<string, Tensor> Tensors, Dictionary<string, string> Metadata) Load(string path)
    {
        using var file = SafetensorsFile.Open(path);
        return (file.ReadAll(), file.Metadata);
    }

    /// <summary>Reads the map of strings only; checks that the file is whole.</summary>
    public static Dictionary<string, string> LoadMetadata(string path)
    {
        using var file = SafetensorsFile.Open(path);
        return file.Metadata;
    }

    private static List<SafetensorsEntry> Entries(IReadOnlyList<(string Name, Tensor Value)> tensors)
    {
        var entries = new List<SafetensorsEntry>();
        long offset = 0;
        foreach (var (name, value) in tensors)
        {
            var (type, size) = SafetensorsType.Of(value.dtype);
            entries.Add(new SafetensorsEntry(name, type, value.shape, offset, offset += value.numel() * size));
        }

        return entries;
    }
}
