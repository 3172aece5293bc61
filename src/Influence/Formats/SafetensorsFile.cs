using System.Security.Cryptography;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>An open safetensors file: its whole layout is checked, tensors are read one by one.</summary>
internal sealed class SafetensorsFile : SafetensorsTensors
{
    private readonly FileStream _stream;
    private readonly string _path;
    private readonly long _dataStart;
    private readonly Dictionary<string, SafetensorsEntry> _entries;
    private readonly Dictionary<string, byte[]>? _digests;

    private SafetensorsFile(FileStream stream, string path)
    {
        var header = SafetensorsHeader.Read(stream, path);
        (_stream, _path, _dataStart) = (stream, path, header.DataStart);
        _entries = header.Entries.ToDictionary(e => e.Name);
        _digests = SafetensorsChecksum.Check(header, path);
        (Metadata, Checksum) = (SafetensorsChecksum.Without(header.Metadata), SafetensorsChecksum.Of(header.Metadata));
    }

    /// <summary>The map of strings, without the checksums.</summary>
    public override Dictionary<string, string> Metadata { get; }

    /// <summary>The checksum over all its content; null where it has none.</summary>
    public string? Checksum { get; }

    /// <summary>The tensors, by name.</summary>
    public override IReadOnlyDictionary<string, SafetensorsEntry> Entries => _entries;

    /// <summary>Empty where the file has a checksum, which is checked as it is read; else says so.</summary>
    public override string Integrity => _digests is null ? SafetensorsChecksum.Unverified : string.Empty;

    /// <exception cref="InfluenceException">The file is missing, truncated, damaged or something else.</exception>
    public static SafetensorsFile Open(string path)
    {
        FileStream? stream = null;
        try
        {
            stream = SharedFile.OpenRead(path);
            return new SafetensorsFile(stream, path);
        }
        catch (Exception exception)
        {
            stream?.Dispose();
            if (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
            {
                throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
            }

            throw;
        }
    }

    /// <summary>Reads one tensor, on the CPU; the caller owns it.</summary>
    /// <exception cref="InfluenceException">There is none of that name or it is of a type that no tensor here can have; or its bytes were
    /// changed since.</exception>
    public override Tensor Read(string name)
    {
        var entry = _entries.TryGetValue(name, out var found)
            ? found
            : throw new InfluenceException(
                $"{_path} holds no tensor \"{PlainText.Name(name)}\"; it holds {InfluenceException.List(_entries.Keys)}."
            );
        var (type, size) =
            SafetensorsType.Find(entry.Type)
            ?? throw new InfluenceException(
                $"{_path}: the tensor \"{PlainText.Name(name)}\" is {entry.Describe()}, a type that cannot be read here. Convert it "
                    + "to F32, or for ids to I64, where it was written."
            );
        using var hash = _digests is null ? null : IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var scope = NewDisposeScope();
        _stream.Position = _dataStart + entry.Begin;
        var tensor = TensorBytes.Read(_stream, _path, entry.Shape, type == ScalarType.Bool ? ScalarType.Byte : type, size, hash);
        if (hash is not null && !hash.GetHashAndReset().AsSpan().SequenceEqual(_digests![name]))
        {
            throw SafetensorsChecksum.Damaged(_path, $"the tensor \"{PlainText.Name(name)}\"");
        }

        if (type == ScalarType.Bool)
        {
            // A byte of 2 would be neither true nor false.
            tensor = tensor.gt(Kept(1)).any().item<bool>()
                ? throw new InfluenceException(
                    $"{_path}: the tensor \"{PlainText.Name(name)}\" is of type BOOL; it has bytes that are neither 0 nor 1."
                )
                : tensor.to_type(ScalarType.Bool);
        }

        return tensor.MoveToOuterDisposeScope();
    }

    /// <summary>Reads some rows of a matrix, and of each only some columns, on the CPU; the caller owns it. A part has no
    /// checksum.</summary>
    /// <param name="name">A matrix that is there, of a type that can be read.</param>
    /// <param name="rows">Rows, in the order wanted.</param>
    /// <param name="columns">Columns, in the order wanted; null for all.</param>
    public Tensor ReadRows(string name, IReadOnlyList<int> rows, IReadOnlyList<int>? columns)
    {
        var entry = _entries[name];
        var (type, size) = SafetensorsType.Find(entry.Type)!.Value;
        using var scope = NewDisposeScope();
        var chosen = columns is null ? null : tensor(columns.Select(column => (long)column).ToArray());
        var found = empty([rows.Count, columns?.Count ?? entry.Shape[1]], type);
        for (var r = 0; r < rows.Count; r++)
        {
            using var one = NewDisposeScope();
            _stream.Position = _dataStart + entry.Begin + (rows[r] * entry.Shape[1] * size);
            var row = TensorBytes.Read(_stream, _path, [entry.Shape[1]], type, size);
            found.select(0, r).copy_(chosen is null ? row : row.index_select(0, chosen));
        }

        return found.MoveToOuterDisposeScope();
    }

    /// <summary>Reads every tensor, on the CPU, in the order of their bytes; the caller owns them.</summary>
    public Dictionary<string, Tensor> ReadAll()
    {
        using var scope = NewDisposeScope();
        var tensors = _entries.Values.ToDictionary(entry => entry.Name, entry => Read(entry.Name));
        foreach (var tensor in tensors.Values)
        {
            tensor.MoveToOuterDisposeScope();
        }

        return tensors;
    }

    public override void Dispose() => _stream.Dispose();
}
