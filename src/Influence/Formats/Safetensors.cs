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
                $"{Path.GetFileName(path)}: the name's ending says the format. Write a name that ends in .safetensors.{(others.Length == 0 ? string.Empty : $" {others}")}");
        }
    }

    /// <summary>Writes tensors, of any device and layout, with a map of strings.</summary>
    public static void Save(string path, IReadOnlyList<(string Name, Tensor Value)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var entries = Entries(tensors);
        AtomicFile.Write(path, stream =>
        {
<<<<<<< HEAD
            stream.Write(Header([.. tensors.Select(t => (t.Name, t.Value.dtype, t.Value.shape))], metadata));
            foreach (var (_, value) in tensors)
=======
            // The hashes are known once the data are written: their place is kept free, as they all have the same length.
            var digests = entries.Select(_ => new byte[SHA256.HashSizeInBytes]).ToArray();
            stream.Write(SafetensorsHeader.ToBytes(entries, SafetensorsChecksum.AddTo(metadata, entries, digests)));
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (var k = 0; k < digests.Length; k++)
>>>>>>> main
            {
                TensorBytes.Write(stream, tensors[k].Value, SafetensorsType.Of(tensors[k].Value.dtype).Size, hash);
                digests[k] = hash.GetHashAndReset();
            }

            stream.Position = 0;
            stream.Write(SafetensorsHeader.ToBytes(entries, SafetensorsChecksum.AddTo(metadata, entries, digests)));
        });
    }

    /// <summary>Reads every tensor, on the CPU; the caller owns them. Checks the whole layout first.</summary>
    /// <param name="path">The file.</param>
    /// <param name="leaveOut">A tensor that is not read.</param>
    public static (Dictionary<string, Tensor> Tensors, Dictionary<string, string> Metadata) Load(string path, string? leaveOut = null)
    {
<<<<<<< HEAD
        using var stream = Open(path);
        var header = ReadHeader(stream, path);
        var tensors = new Dictionary<string, Tensor>();
        foreach (var entry in header.Entries.Where(entry => entry.Name != leaveOut))
        {
            stream.Position = header.DataStart + entry.Begin;
            tensors.Add(entry.Name, ReadTensor(stream, entry));
        }

        return (tensors, header.Metadata);
=======
        using var file = SafetensorsFile.Open(path);
        return (file.ReadAll(), file.Metadata);
>>>>>>> main
    }

    /// <summary>Reads the map of strings only; checks that the file is whole.</summary>
    public static Dictionary<string, string> LoadMetadata(string path)
    {
        using var file = SafetensorsFile.Open(path);
        return file.Metadata;
    }

<<<<<<< HEAD
    /// <summary>The sizes of a tensor; null where there is none of that name.</summary>
    public static long[]? Shape(string path, string name)
    {
        using var stream = Open(path);
        return ReadHeader(stream, path).Entries.Find(entry => entry.Name == name)?.Shape;
    }

    /// <summary>Reads some rows of a matrix that is in the file, and of each only some columns; the caller owns the tensor.</summary>
    /// <param name="path">The file.</param>
    /// <param name="name">A matrix.</param>
    /// <param name="rows">Rows, in the order wanted.</param>
    /// <param name="columns">Columns, in the order wanted; null for all.</param>
    public static Tensor LoadRows(string path, string name, IReadOnlyList<int> rows, IReadOnlyList<int>? columns)
    {
        using var stream = Open(path);
        var header = ReadHeader(stream, path);
        var entry = header.Entries.First(e => e.Name == name);
        var (type, _, size) = Types.First(t => t.Name == entry.Type);
        using var scope = NewDisposeScope();
        var chosen = columns is null ? null : tensor(columns.Select(c => (long)c).ToArray());
        var found = empty([rows.Count, columns?.Count ?? entry.Shape[1]], type);
        for (var r = 0; r < rows.Count; r++)
        {
            using var one = NewDisposeScope();
            var start = rows[r] * entry.Shape[1] * size;
            stream.Position = header.DataStart + entry.Begin + start;
            var row = ReadTensor(stream, entry with { Shape = [entry.Shape[1]], Begin = start });
            found.select(0, r).copy_(chosen is null ? row : row.index_select(0, chosen));
        }

        return found.MoveToOuterDisposeScope();
    }

    /// <summary>What precedes the data.</summary>
    /// <param name="tensors">Name, type and shape, in the order of the data.</param>
    /// <param name="metadata">Strings.</param>
    /// <param name="bytes">The length to fill with spaces; 0 for the shortest.</param>
    public static byte[] Header(
        IReadOnlyList<(string Name, ScalarType Type, long[] Shape)> tensors, IReadOnlyDictionary<string, string> metadata, int bytes = 0)
=======
    private static List<SafetensorsEntry> Entries(IReadOnlyList<(string Name, Tensor Value)> tensors)
>>>>>>> main
    {
        var entries = new List<SafetensorsEntry>();
        long offset = 0;
        foreach (var (name, value) in tensors)
        {
<<<<<<< HEAD
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
            foreach (var (name, type, shape) in tensors)
            {
                var (_, typeName, size) = TypeOf(type);
                json.WriteStartObject(name);
                json.WriteString("dtype", typeName);
                json.WriteStartArray("shape");
                foreach (var dimension in shape)
                {
                    json.WriteNumberValue(dimension);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += shape.Aggregate((long)size, (a, b) => a * b));
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        // The data begin at a multiple of eight; the header may end in spaces.
        var length = Math.Max((int)((buffer.Length + 7) / 8 * 8), bytes - 8);
        var header = new byte[8 + length];
        header.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteInt64LittleEndian(header, length);
        buffer.GetBuffer().AsSpan(0, (int)buffer.Length).CopyTo(header.AsSpan(8));
        return header;
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
=======
            var (type, size) = SafetensorsType.Of(value.dtype);
            entries.Add(new SafetensorsEntry(name, type, value.shape, offset, offset += value.numel() * size));
        }

        return entries;
>>>>>>> main
    }
}
