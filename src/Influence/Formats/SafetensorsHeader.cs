using System.Buffers.Binary;
using System.Text.Json;

namespace Influence.Formats;

/// <summary>
/// The header of a safetensors file: eight bytes of length, then JSON (name to dtype, shape and offsets, and a map of strings
/// under <c>__metadata__</c>).
/// </summary>
/// <param name="Entries">The tensors, in the order of their bytes.</param>
/// <param name="Metadata">The map of strings.</param>
/// <param name="DataStart">Where the tensors' bytes begin.</param>
internal sealed record SafetensorsHeader(IReadOnlyList<SafetensorsEntry> Entries, Dictionary<string, string> Metadata, long DataStart)
{
    private const string MetadataKey = "__metadata__";
    private const long Longest = 100_000_000;
    private static readonly JsonDocumentOptions s_json = new() { AllowDuplicateProperties = false };

    /// <summary>
    /// Reads and checks it: the tensors' bytes lie one after the other, from the header's end to the file's. So nothing that is
    /// allocated later is larger than the file.
    /// </summary>
    /// <exception cref="InfluenceException">It is truncated, or something else.</exception>
    public static SafetensorsHeader Read(FileStream stream, string path)
    {
        if (stream.Length < 8)
        {
            throw Foreign(path, "it is shorter than the header's length");
        }

        Span<byte> prefix = stackalloc byte[8];
        stream.ReadExactly(prefix);
        var length = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        if (length is < 2 or > Longest)
        {
            throw Foreign(path, "the header's length makes no sense");
        }

        if (stream.Length < 8 + length)
        {
            throw Truncated(path, 8 + length, stream.Length);
        }

        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        var (entries, metadata) = Parse(bytes, path);
        long end = 0;
        foreach (var entry in entries)
        {
            if (entry.Begin != end)
            {
                throw Foreign(path, $"the bytes of \"{PlainText.Name(entry.Name)}\" begin at {entry.Begin}; those before end at {end}");
            }

            end = entry.End;
        }

        var expected = (Int128)8 + length + end;
        if (stream.Length < expected)
        {
            throw Truncated(path, expected, stream.Length);
        }

        return stream.Length == expected
            ? new SafetensorsHeader(entries, metadata, 8 + length)
            : throw Foreign(path, $"{stream.Length - expected:N0} bytes follow after the last tensor");
    }

    /// <summary>The header's bytes, filled up so that the data begin at a multiple of eight.</summary>
    /// <param name="entries">The tensors.</param>
    /// <param name="metadata">The map of strings.</param>
    /// <param name="least">How many bytes it takes at least.</param>
    public static byte[] ToBytes(IReadOnlyList<SafetensorsEntry> entries, IReadOnlyDictionary<string, string> metadata, int least = 0)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject(MetadataKey);
            foreach (var (key, value) in metadata)
            {
                json.WriteString(key, value);
            }

            json.WriteEndObject();
            foreach (var entry in entries)
            {
                json.WriteStartObject(entry.Name);
                json.WriteString("dtype", entry.Type);
                WriteNumbers(json, "shape", entry.Shape);
                WriteNumbers(json, "data_offsets", [entry.Begin, entry.End]);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        var length = Math.Max((int)((buffer.Length + 7) / 8 * 8), least - 8);
        var bytes = new byte[8 + length];
        bytes.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
        buffer.GetBuffer().AsSpan(0, (int)buffer.Length).CopyTo(bytes.AsSpan(8));
        return bytes;
    }

    public static InfluenceException Foreign(string path, string why) => new($"{path} is not a safetensors file: {why}.");

    private static (List<SafetensorsEntry> Entries, Dictionary<string, string> Metadata) Parse(byte[] bytes, string path)
    {
        var entries = new List<SafetensorsEntry>();
        var metadata = new Dictionary<string, string>();
        try
        {
            using var json = JsonDocument.Parse(bytes, s_json);
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (property.NameEquals(MetadataKey))
                {
                    foreach (var pair in property.Value.EnumerateObject())
                    {
                        metadata.Add(pair.Name, pair.Value.GetString() ?? string.Empty);
                    }
                }
                else
                {
                    entries.Add(SafetensorsEntry.Parse(property));
                }
            }
        }
        catch (FormatException exception)
        {
            throw Foreign(path, exception.Message.TrimEnd('.'));
        }
        catch (Exception exception)
            when (exception is JsonException or InvalidOperationException or KeyNotFoundException or ArgumentException)
        {
            // Their messages may quote what is in the file, at any length: they do not go along.
            _ = exception;
            throw Foreign(path, "its header is not the JSON that the format asks for");
        }

        entries.Sort((a, b) => (a.Begin, a.End).CompareTo((b.Begin, b.End)));
        return (entries, metadata);
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, long[] numbers)
    {
        json.WriteStartArray(name);
        foreach (var number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }

    private static InfluenceException Truncated(string path, Int128 expected, long found) =>
        new(
            $"{path} is truncated: its header speaks of {expected:N0} bytes, the file has {found:N0}. Was the disk full, or the copy cut "
                + "off?"
        );
}
