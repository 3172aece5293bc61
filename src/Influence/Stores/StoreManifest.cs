using System.Security.Cryptography;
using System.Text.Json;
using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>What a store holds, and the hash of each file that is complete.</summary>
internal sealed record StoreManifest
{
    public const string FileName = "manifest.json";
    public const string IdsName = "ids.bin";
    private const string FormatName = "influence.gradients/1";
    private static readonly JsonSerializerOptions s_json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true, NewLine = "\n" };

    public required string Format { get; init; }

    /// <summary>How the signs were drawn.</summary>
    public required string Generator { get; init; }

    /// <summary>Of a shard's file, in order.</summary>
    public required string Layout { get; init; }

    /// <summary>The fingerprint of the model's weights and of the names that take part.</summary>
    public required string Weights { get; init; }

    public required int Dimension { get; init; }

    public required long Seed { get; init; }

    /// <summary>int8, float16, float32 or float64.</summary>
    public required string Dtype { get; init; }

    public required int ExamplesPerShard { get; init; }

    public required int Count { get; init; }

    /// <summary>SHA-256 of the file of ids.</summary>
    public required string IdsHash { get; init; }

    public required StoredLayer[] Layers { get; init; }

    /// <summary>SHA-256 of each shard; null for one that is not written yet.</summary>
    public required string?[] ShardHashes { get; init; }

    public static StoreManifest Of(GradientSession session, IReadOnlyList<long> ids, GradientProjection projection) => new()
    {
        Format = FormatName,
        Generator = SignMatrix.Generator,
        Layout = "little-endian: exact norms, float64 [n]; for float16 scales, float64 [n]; for int8 scales, float32 [n, blocks], of each 128 numbers " +
            "of a layer, the last block shorter; rows [n, K], layer after layer, each [kept_outputs, kept_inputs] row-major",
        Weights = session.WeightsFingerprint(),
        Dimension = projection.Dimension,
        Seed = projection.Seed,
        Dtype = NameOf(projection.Dtype),
        ExamplesPerShard = projection.ExamplesPerShard,
        Count = ids.Count,
        IdsHash = Hash(Bytes(ids)),
        Layers = [.. session.Parts.SelectMany(parts => parts).Select(part => StoredLayer.Of(part, projection.Dimension))],
        ShardHashes = new string?[(ids.Count + projection.ExamplesPerShard - 1) / projection.ExamplesPerShard],
    };

    public long Width() => Layers.Sum(layer => layer.Size());

    public ScalarType Type() => Dtype switch
    {
        "int8" => ScalarType.Int8,
        "float16" => ScalarType.Float16,
        "float32" => ScalarType.Float32,
        _ => ScalarType.Float64,
    };

    /// <summary>The examples of a shard.</summary>
    public int CountOf(int shard) => Math.Min(ExamplesPerShard, Count - (shard * ExamplesPerShard));

    public static string ShardName(int shard) => FormattableString.Invariant($"shard-{shard:000000}.bin");

    public StoreManifest WithShard(int shard, string? hash)
    {
        var hashes = ShardHashes.ToArray();
        hashes[shard] = hash;
        return this with { ShardHashes = hashes };
    }

    public void Save(string folder) => AtomicFile.Write(Path.Combine(folder, FileName), stream => JsonSerializer.Serialize(stream, this, s_json));

    /// <exception cref="InfluenceException">There is none, or it is not one of a store.</exception>
    public static StoreManifest Load(string folder)
    {
        var path = Path.Combine(folder, FileName);
        try
        {
            var manifest = JsonSerializer.Deserialize<StoreManifest>(SharedFile.ReadAllBytes(path), s_json);
            if (manifest is { Format: FormatName } && manifest.IsSound())
            {
                return manifest;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or NotSupportedException)
        {
            throw new InfluenceException($"{path} cannot be read as the manifest of a gradient store: {exception.Message}", exception);
        }

        throw new InfluenceException($"{path} is not a manifest that GradientStore.Write of this version writes ({FormatName}).");
    }

    /// <summary>In what the store that a folder holds differs from this one.</summary>
    public IReadOnlyList<string> DifferencesFrom(StoreManifest folder)
    {
        var differences = new List<string>();
        Add("the model's weights", folder.Weights, Weights);
        Add("Dimension", folder.Dimension, Dimension);
        Add("Seed", folder.Seed, Seed);
        Add("Dtype", folder.Dtype, Dtype);
        Add("ExamplesPerShard", folder.ExamplesPerShard, ExamplesPerShard);
        Add("the number of examples", folder.Count, Count);
        Add("the examples' ids", folder.IdsHash[..16], IdsHash[..16]);
        Add("the generator of signs", folder.Generator, Generator);
        // Another Dimension keeps other numbers of each layer, which says nothing new.
        if (folder.Dimension == Dimension && !folder.Layers.SequenceEqual(Layers))
        {
            differences.Add($"the layers (the store's: {InfluenceException.List([.. folder.Layers.Select(l => l.Name)])}; now: {InfluenceException.List([.. Layers.Select(l => l.Name)])})");
        }

        return differences;

        void Add<T>(string what, T theirs, T ours)
        {
            if (!Equals(theirs, ours))
            {
                differences.Add($"{what} (the store's: {theirs}; now: {ours})");
            }
        }
    }

    public static byte[] Bytes(IReadOnlyList<long> ids)
    {
        var bytes = new byte[8L * ids.Count];
        for (var i = 0; i < ids.Count; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(8 * i), ids[i]);
        }

        return bytes;
    }

    public static string Hash(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static string NameOf(ScalarType type) => type switch
    {
        ScalarType.Int8 => "int8",
        ScalarType.Float16 => "float16",
        ScalarType.Float32 => "float32",
        _ => "float64",
    };

    /// <summary>Whether every part is there and they fit together; what JSON leaves out or sets to null is not trusted to be.</summary>
    private bool IsSound() =>
        Generator is not null && Weights is not null && Layout is not null && Dtype is "int8" or "float16" or "float32" or "float64" && IdsHash is { Length: 64 }
        && Dimension >= 1 && ExamplesPerShard >= 1 && Count >= 1 && Layers is { Length: > 0 } && ShardHashes is not null
        && ShardHashes.Length == (Count + (long)ExamplesPerShard - 1) / ExamplesPerShard
        && Array.TrueForAll(Layers, l => l is { Name: not null, Outputs: > 0, Inputs: > 0, KeptOutputs: > 0, KeptInputs: > 0 } && l.KeptOutputs <= l.Outputs && l.KeptInputs <= l.Inputs)
        && Layers.Select(l => l.Name).Distinct().Count() == Layers.Length;
}
