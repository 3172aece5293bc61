using System.Buffers.Binary;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>
/// The safetensors format: eight bytes of header length, a JSON header (name to dtype, shape and offsets, and a map of
/// strings under <c>__metadata__</c>), then the tensors' bytes, little-endian and row-major.
/// </summary>
internal static class Safetensors
{
    private const string MetadataKey = "__metadata__";
    private const long MaximumHeader = 100_000_000;
    private const long ChunkBytes = 1 << 30;

    private static readonly (ScalarType Type, string Name, int Size)[] Types =
    [
        (ScalarType.Float32, "F32", 4), (ScalarType.Float64, "F64", 8), (ScalarType.Float16, "F16", 2), (ScalarType.BFloat16, "BF16", 2),
        (ScalarType.Int64, "I64", 8), (ScalarType.Int32, "I32", 4), (ScalarType.Int16, "I16", 2), (ScalarType.Int8, "I8", 1),
        (ScalarType.Byte, "U8", 1), (ScalarType.Bool, "BOOL", 1),
    ];

    /// <summary>Refuses a name that says another format, so that nobody looks for CSV in it.</summary>
    public static void CheckName(string path)
    {
        if (!path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))
        {
            throw new InfluenceException($"{Path.GetFileName(path)}: the name's ending says the format. Write a name that ends in .safetensors.");
        }
    }

    /// <summary>Writes tensors, of any device and layout, with a map of strings.</summary>
    public static void Save(string path, IReadOnlyList<(string Name, Tensor Value)> tensors, IReadOnlyDictionary<string, string> metadata) =>
        AtomicFile.Write(path, stream =>
        {
            stream.Write(Header(tensors, metadata));
            foreach (var (_, value) in tensors)
            {
                WriteBytes(stream, value);
            }
        });

    /// <summary>Reads every tensor, on the CPU; the caller owns them. Checks the whole layout first.</summary>
    public static (Dictionary<string, Tensor> Tensors, Dictionary<string, string> Metadata) Load(string path)
    {
        using var stream = Open(path);
        var header = ReadHeader(stream, path);
        var tensors = new Dictionary<string, Tensor>();
        foreach (var entry in header.Entries)
        {
            stream.Position = header.DataStart + entry.Begin;
            tensors.Add(entry.Name, ReadTensor(stream, entry));
        }

        return (tensors, header.Metadata);
    }

    /// <summary>The names of the tensors; checks that the file is whole.</summary>
    public static IReadOnlyList<string> LoadNames(string path)
    {
        using var stream = Open(path);
        return [.. ReadHeader(stream, path).Entries.Select(e => e.Name)];
    }

    /// <summary>Reads the map of strings only; checks that the file is whole.</summary>
    public static Dictionary<string, string> LoadMetadata(string path)
    {
        using var stream = Open(path);
        return ReadHeader(stream, path).Metadata;
    }

    private static byte[] Header(IReadOnlyList<(string Name, Tensor Value)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject(MetadataKey);
                foreach (var (key, value) in metadata)
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach (var (name, value) in tensors)
            {
                var (_, typeName, size) = TypeOf(value.dtype);
                json.WriteStartObject(name);
                json.WriteString("dtype", typeName);
                json.WriteStartArray("shape");
                foreach (var dimension in value.shape)
                {
                    json.WriteNumberValue(dimension);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += value.numel() * size);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        // The data begin at a multiple of eight; the header may end in spaces.
        var length = (int)((buffer.Length + 7) / 8 * 8);
        var bytes = new byte[8 + length];
        bytes.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
        buffer.GetBuffer().AsSpan(0, (int)buffer.Length).CopyTo(bytes.AsSpan(8));
        return bytes;
    }

    private static void WriteBytes(Stream stream, Tensor value)
    {
        using var scope = NewDisposeScope();
        var flat = value.detach().cpu().contiguous().reshape(-1);
        var step = ChunkBytes / TypeOf(value.dtype).Size;
        for (long start = 0; start < flat.shape[0]; start += step)
        {
            using var chunk = flat.narrow(0, start, Math.Min(step, flat.shape[0] - start)).clone();
            stream.Write(chunk.bytes);
        }
    }

    private static FileStream Open(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 20);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }
    }

    private static (List<Entry> Entries, Dictionary<string, string> Metadata, long DataStart) ReadHeader(FileStream stream, string path)
    {
        Span<byte> prefix = stackalloc byte[8];
        if (stream.Length < 8)
        {
            throw Foreign(path, "it is shorter than the header's length");
        }

        stream.ReadExactly(prefix);
        var length = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        if (length is < 2 or > MaximumHeader)
        {
            throw Foreign(path, "the header's length makes no sense");
        }

        if (stream.Length < 8 + length)
        {
            throw Truncated(path, 8 + length, stream.Length);
        }

        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        var entries = new List<Entry>();
        var metadata = new Dictionary<string, string>();
        try
        {
            using var json = JsonDocument.Parse(bytes);
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (property.NameEquals(MetadataKey))
                {
                    foreach (var pair in property.Value.EnumerateObject())
                    {
                        metadata[pair.Name] = pair.Value.GetString() ?? string.Empty;
                    }
                }
                else
                {
                    entries.Add(Entry.Parse(property));
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException or FormatException or IndexOutOfRangeException)
        {
            throw Foreign(path, "its header is not the JSON that the format asks for", exception);
        }

        if (entries.DistinctBy(e => e.Name).Count() != entries.Count)
        {
            throw Foreign(path, "names repeat in its header");
        }

        foreach (var entry in entries)
        {
            var type = Types.FirstOrDefault(t => t.Name == entry.Type);
            if (type.Name is null || entry.Shape.Any(d => d < 0) || entry.Begin < 0
                || entry.End - entry.Begin != entry.Shape.Aggregate((Int128)type.Size, (a, b) => a > long.MaxValue ? a : a * b))
            {
                throw Foreign(path, $"the entry of \"{entry.Name}\" ({entry.Type} [{string.Join(", ", entry.Shape)}]) does not fit its bytes");
            }
        }

        var end = 8 + length + entries.Select(e => e.End).DefaultIfEmpty(0).Max();
        return stream.Length < end ? throw Truncated(path, end, stream.Length) : (entries, metadata, 8 + length);
    }

    private static Tensor ReadTensor(FileStream stream, Entry entry)
    {
        var (type, _, size) = Types.First(t => t.Name == entry.Type);
        var tensor = empty(entry.Shape, type);
        using var flat = tensor.view(-1);
        var step = ChunkBytes / size;
        for (long start = 0; start < flat.shape[0]; start += step)
        {
            var count = Math.Min(step, flat.shape[0] - start);
            var buffer = new byte[count * size];
            stream.ReadExactly(buffer);
            using var chunk = empty([count], type);
            chunk.bytes = buffer;
            using var target = flat.narrow(0, start, count);
            target.copy_(chunk);
        }

        return tensor;
    }

    private static (ScalarType Type, string Name, int Size) TypeOf(ScalarType dtype)
    {
        var found = Types.FirstOrDefault(t => t.Type == dtype);
        return found.Name is not null ? found : throw new InfluenceException($"The safetensors format has no type for {dtype}.");
    }

    private static InfluenceException Truncated(string path, long expected, long found) =>
        new($"{path} is truncated: its header speaks of {expected:N0} bytes, the file has {found:N0}. Was the disk full, or the copy cut off?");

    private static InfluenceException Foreign(string path, string why, Exception? inner = null) =>
        new($"{path} is not a safetensors file: {why}.", inner);

    private sealed record Entry(string Name, string Type, long[] Shape, long Begin, long End)
    {
        public static Entry Parse(JsonProperty property) => new(
            property.Name,
            property.Value.GetProperty("dtype").GetString() ?? string.Empty,
            [.. property.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())],
            property.Value.GetProperty("data_offsets")[0].GetInt64(),
            property.Value.GetProperty("data_offsets")[1].GetInt64());
    }
}
