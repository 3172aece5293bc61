using System.Security.Cryptography;
using System.Text;

namespace Influence.Formats;

/// <summary>
/// What a file's metadata say of its content: SHA-256 of each tensor's bytes, in the order of their names, and one over these, the tensors'
/// names, types and shapes, and the other metadata. So a tensor can be checked without reading the others, and the header without reading
/// any. The order of the tensors in the file does not matter.
/// </summary>
internal static class SafetensorsChecksum
{
    /// <summary>In the metadata of what was read from a file that has none.</summary>
    public const string Unverified = "unverified: the file it was read from has no checksum";

    private const string WholeKey = "influence.sha256";
    private const string TensorsKey = "influence.sha256.tensors";

    /// <summary>The metadata with the checksums.</summary>
    /// <param name="metadata">Without, or with those of an earlier content.</param>
    /// <param name="entries">The tensors.</param>
    /// <param name="digests">The hash of each tensor's bytes.</param>
    public static Dictionary<string, string> AddTo(
        IReadOnlyDictionary<string, string> metadata,
        IReadOnlyList<SafetensorsEntry> entries,
        IReadOnlyList<byte[]> digests
    )
    {
        var byName = entries.Zip(digests).ToDictionary(pair => pair.First.Name, pair => pair.Second);
        return new(Without(metadata))
        {
            [TensorsKey] = string.Concat(ByName(entries).Select(entry => Convert.ToHexStringLower(byName[entry.Name]))),
            [WholeKey] = Whole(metadata, entries, byName),
        };
    }

    /// <summary>The checksum over the whole content; null where there is none.</summary>
    public static string? Of(IReadOnlyDictionary<string, string> metadata) => metadata.GetValueOrDefault(WholeKey);

    /// <summary>The metadata without the checksums.</summary>
    public static Dictionary<string, string> Without(IReadOnlyDictionary<string, string> metadata) =>
        metadata.Where(pair => pair.Key is not (WholeKey or TensorsKey)).ToDictionary();

    /// <summary>The hash of each tensor's bytes as the metadata name it, once the header is found to be as it was written; null where there
    /// is none.</summary>
    /// <exception cref="InfluenceException">The header was changed since.</exception>
    public static Dictionary<string, byte[]>? Check(SafetensorsHeader header, string path)
    {
        var (hasWhole, hasTensors) = (
            header.Metadata.TryGetValue(WholeKey, out var whole),
            header.Metadata.TryGetValue(TensorsKey, out var tensors)
        );
        if (!hasWhole && !hasTensors)
        {
            return null;
        }

        const int Digits = 2 * SHA256.HashSizeInBytes;
        if (hasWhole && hasTensors && tensors!.Length == Digits * header.Entries.Count && tensors.All(char.IsAsciiHexDigitLower))
        {
            var digests = ByName(header.Entries)
                .Select((entry, k) => (entry.Name, Digest: Convert.FromHexString(tensors.AsSpan(k * Digits, Digits))))
                .ToDictionary(pair => pair.Name, pair => pair.Digest);
            if (Whole(header.Metadata, header.Entries, digests) == whole)
            {
                return digests;
            }
        }

        throw Damaged(path, "its header");
    }

    public static InfluenceException Damaged(string path, string what) =>
        new(
            $"{path} is damaged: {what} is not what was written there, by its checksum. Take another copy of the file. "
                + $"If a tool changed it on purpose, remove \"{WholeKey}\" and \"{TensorsKey}\" from its metadata: it then reads as "
                + "unverified."
        );

    private static IOrderedEnumerable<SafetensorsEntry> ByName(IReadOnlyList<SafetensorsEntry> entries) =>
        entries.OrderBy(e => e.Name, StringComparer.Ordinal);

    private static string Whole(
        IReadOnlyDictionary<string, string> metadata,
        IReadOnlyList<SafetensorsEntry> entries,
        Dictionary<string, byte[]> digests
    )
    {
        using var content = new MemoryStream();
        using var writer = new BinaryWriter(content, Encoding.UTF8);

        // Strings are written with their lengths: no two contents give the same bytes.
        var pairs = Without(metadata).OrderBy(pair => pair.Key, StringComparer.Ordinal).ToList();
        writer.Write(pairs.Count);
        foreach (var (key, value) in pairs)
        {
            writer.Write(key);
            writer.Write(value);
        }

        foreach (var entry in ByName(entries))
        {
            writer.Write(entry.Name);
            writer.Write(entry.Type);
            writer.Write(entry.Shape.Length);
            foreach (var dimension in entry.Shape)
            {
                writer.Write(dimension);
            }

            writer.Write(digests[entry.Name]);
        }

        writer.Flush();
        return Convert.ToHexStringLower(SHA256.HashData(content.GetBuffer().AsSpan(0, (int)content.Length)));
    }
}
