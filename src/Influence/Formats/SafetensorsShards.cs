using System.Text;
using System.Text.Json;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>
/// Several safetensors files with an index, as Hugging Face saves large models: <c>model.safetensors.index.json</c> holds a map of strings
/// under <c>metadata</c>, and under <c>weight_map</c> the name of each tensor's file, in the same folder. An index of ours has each file's
/// checksum too.
/// </summary>
internal sealed class SafetensorsShards : SafetensorsTensors
{
    /// <summary>What the name of an index ends in.</summary>
    public const string Ending = ".safetensors.index.json";

    private const string ChecksumPrefix = "influence.sha256.";
    private const long Longest = 100_000_000;
    private static readonly JsonDocumentOptions s_json = new() { AllowDuplicateProperties = false };
    private static readonly JsonWriterOptions s_written = new() { Indented = true };

    private readonly Dictionary<string, SafetensorsFile> _files = [];
    private readonly Dictionary<string, SafetensorsEntry> _entries = [];
    private readonly Dictionary<string, SafetensorsFile> _fileOf = [];
    private readonly List<string> _notes = [];
    private bool _verified;

    private SafetensorsShards(Dictionary<string, string> metadata) => Metadata = metadata;

    public override Dictionary<string, string> Metadata { get; }

    public override IReadOnlyDictionary<string, SafetensorsEntry> Entries => _entries;

    public override string Integrity => _verified ? string.Empty : SafetensorsChecksum.Unverified;

    public override IReadOnlyList<string> Notes => _notes;

    /// <exception cref="InfluenceException">The index or a file that it names is missing, truncated, damaged or something else, or a tensor
    /// is not where the index says.</exception>
    public static SafetensorsShards Open(string path)
    {
        var (metadata, places) = ReadIndex(path);
        var checksums = metadata.Where(pair => pair.Key.StartsWith(ChecksumPrefix, StringComparison.Ordinal)).ToDictionary();
        var shards = new SafetensorsShards(metadata.Where(pair => !checksums.ContainsKey(pair.Key)).ToDictionary());
        try
        {
            shards.OpenFiles(path, places, checksums);
            return shards;
        }
        catch
        {
            shards.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes tensors to as many files as needed, then the index: the tensors of an earlier index of that name stay readable until the
    /// first file is replaced, and what is read in between is refused by its checksums.
    /// </summary>
    /// <param name="path">The index; its name ends in <see cref="Ending"/>.</param>
    /// <param name="tensors">The tensors, of any device and layout.</param>
    /// <param name="metadata">The map of strings.</param>
    /// <param name="shardBytes">How many bytes a file holds at most; a larger tensor has one for itself.</param>
    public static void Save(
        string path,
        IReadOnlyList<(string Name, Tensor Value)> tensors,
        IReadOnlyDictionary<string, string> metadata,
        long shardBytes
    )
    {
        if (!path.EndsWith(Ending, StringComparison.OrdinalIgnoreCase))
        {
            throw new InfluenceException(
                $"{Path.GetFileName(path)}: the index of a sharded checkpoint is called model{Ending} or the "
                    + "like; write a name that ends so."
            );
        }

        var shards = new List<List<(string Name, Tensor Value)>> { new() };
        var (total, room) = (0L, shardBytes);
        foreach (var tensor in tensors)
        {
            var bytes = tensor.Value.numel() * SafetensorsType.Of(tensor.Value.dtype).Size;
            if (bytes > room && shards[^1].Count > 0)
            {
                shards.Add([]);
                room = shardBytes;
            }

            shards[^1].Add(tensor);
            (total, room) = (total + bytes, room - bytes);
        }

        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var stem = Path.GetFileName(path)[..^Ending.Length];
        var (places, all) = (new List<(string Tensor, string File)>(), new Dictionary<string, string>(metadata));
        for (var k = 0; k < shards.Count; k++)
        {
            var file = FormattableString.Invariant($"{stem}-{k + 1:00000}-of-{shards.Count:00000}.safetensors");
            var whole = Path.Combine(folder, file);
            Safetensors.Save(whole, shards[k], new Dictionary<string, string> { ["format"] = "pt" });
            using var written = SafetensorsFile.Open(whole);
            all[ChecksumPrefix + file] = written.Checksum!;
            places.AddRange(shards[k].Select(tensor => (tensor.Name, file)));
        }

        AtomicFile.Write(path, stream => WriteIndex(stream, all, places, total));
    }

    public override Tensor Read(string name) =>
        _fileOf.TryGetValue(name, out var file)
            ? file.Read(name)
            : throw new InfluenceException(
                $"The index names no tensor \"{PlainText.Name(name)}\"; it names {InfluenceException.List(_entries.Keys)}."
            );

    public override void Dispose()
    {
        foreach (var file in _files.Values)
        {
            file.Dispose();
        }
    }

    private static void WriteIndex(
        Stream stream,
        Dictionary<string, string> metadata,
        List<(string Tensor, string File)> places,
        long total
    )
    {
        using var json = new Utf8JsonWriter(stream, s_written);
        json.WriteStartObject();
        json.WriteStartObject("metadata");
        json.WriteNumber("total_size", total);
        foreach (var (key, value) in metadata)
        {
            json.WriteString(key, value);
        }

        json.WriteEndObject();
        json.WriteStartObject("weight_map");
        foreach (var (tensor, file) in places.OrderBy(place => place.Tensor, StringComparer.Ordinal))
        {
            json.WriteString(tensor, file);
        }

        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static (Dictionary<string, string> Metadata, Dictionary<string, string> Places) ReadIndex(string path)
    {
        try
        {
            var info = new FileInfo(path);
            if (info.Exists && info.Length > Longest)
            {
                throw Foreign(path, $"it has more than {Longest:N0} bytes");
            }

            using var json = JsonDocument.Parse(File.ReadAllText(path, Encoding.UTF8), s_json);
            var (metadata, places) = (new Dictionary<string, string>(), new Dictionary<string, string>());
            if (json.RootElement.TryGetProperty("metadata", out var strings) && strings.ValueKind == JsonValueKind.Object)
            {
                // Others write numbers there, total_size for one.
                foreach (var pair in strings.EnumerateObject().Where(pair => pair.Value.ValueKind == JsonValueKind.String))
                {
                    metadata.Add(pair.Name, pair.Value.GetString()!);
                }
            }

            foreach (var pair in json.RootElement.GetProperty("weight_map").EnumerateObject())
            {
                places.Add(pair.Name, pair.Value.GetString() ?? string.Empty);
            }

            return places.Count > 0 ? (metadata, places) : throw Foreign(path, "its weight_map is empty");
        }
        catch (Exception exception)
            when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            // Their messages may quote what is in the file, at any length: they do not go along.
            _ = exception;
            throw Foreign(path, "it is no JSON with a weight_map from tensors' names to files' names");
        }
    }

    private static InfluenceException Foreign(string path, string why) =>
        new($"{path} is not the index of a sharded safetensors checkpoint (model{Ending}): {why}.");

    private void OpenFiles(string path, Dictionary<string, string> places, Dictionary<string, string> checksums)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var files = places.Values.Distinct().Order(StringComparer.Ordinal).ToList();
        foreach (var name in files)
        {
            // A name from a file: it leads nowhere but into the folder.
            if (name.Length == 0 || Path.GetFileName(name) != name || name is "." or ".." || name.Contains('\\', StringComparison.Ordinal))
            {
                throw Foreign(path, $"it names the file \"{PlainText.Name(name)}\", which is no file of its own folder");
            }

            var file = SafetensorsFile.Open(Path.Combine(folder, name));
            _files.Add(name, file);
            if (checksums.TryGetValue(ChecksumPrefix + name, out var expected) && file.Checksum != expected)
            {
                throw new InfluenceException(
                    $"{path} is damaged: {name} is not the file that the index was written with. Was the checkpoint saved again, and that "
                        + "not finished? Take another copy of all its files."
                );
            }

            var unnamed = file.Entries.Keys.Where(tensor => places.GetValueOrDefault(tensor) != name).ToList();
            if (unnamed.Count > 0)
            {
                _notes.Add($"in {name} but not named by the index, left out: {InfluenceException.List(unnamed)}");
            }
        }

        _verified = files.All(name => _files[name].Integrity.Length == 0 && checksums.ContainsKey(ChecksumPrefix + name));
        var missing = places.Where(place => !_files[place.Value].Entries.ContainsKey(place.Key)).ToList();
        if (missing.Count > 0)
        {
            throw new InfluenceException(
                $"{path} names tensors that are not in their files: "
                    + $"{InfluenceException.List([.. missing.Select(place => $"{place.Key} in {place.Value}")])}. Take another copy of "
                    + "all its files."
            );
        }

        foreach (var (tensor, name) in places)
        {
            _entries.Add(tensor, _files[name].Entries[tensor]);
            _fileOf.Add(tensor, _files[name]);
        }
    }
}
