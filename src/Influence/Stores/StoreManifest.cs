using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>What a store holds. Each shard's file says by itself whether it is whole, so that this is written once.</summary>
internal sealed record StoreManifest
{
    public const string FileName = "manifest.json";
    public const string IdsName = "ids.bin";
    public const string MatricesName = "matrices.safetensors";
    private const string Update = "Adam's update";
    private const string Preconditioned = "times the inverse root of the damped curvature: ";
    private const string Scaled = "over the roots of Adam's second moments";
    private const string TwoSided = "two-sided";
    private const string Principal = "principal";
    private const string Dense = "dense";
    private const string CountSketch = "count sketch";
    private const string FormatName = "influence.gradients/2";
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        NewLine = "\n",
    };

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

    /// <summary>two-sided, principal, dense or count sketch.</summary>
    public required string Form { get; init; }

    /// <summary>SHA-256 of the file of matrices that the data gave; empty where they are drawn.</summary>
    public required string MatricesHash { get; init; }

    /// <summary>What became of the gradients before they were projected; empty for nothing.</summary>
    public required string Direction { get; init; }

    public required StoredLayer[] Layers { get; init; }

    /// <summary>The number of examples of the fit whose curvature is in the gradients; 0 where none is.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int FitExamples { get; init; }

    /// <summary>What every shard's hash begins with: another store's file is not taken for this one's.</summary>
    [JsonIgnore]
    public byte[] Key => field ??= SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(this, s_json));

    /// <summary>How many shards there are.</summary>
    [JsonIgnore]
    public int Shards => (int)((Count + (long)ExamplesPerShard - 1) / ExamplesPerShard);

    /// <summary>That of a new store.</summary>
    public static StoreManifest Of(GradientSession session, IReadOnlyList<long> ids, GradientProjection projection) =>
        new()
        {
            Format = FormatName,
            Generator = SignMatrix.Generator,
            Layout =
                "little-endian: rows [n, K], layer after layer, each [kept_outputs, kept_inputs] row-major; for float16 scales, float64 "
                + "[n]; for int8 scales, float32 [n, blocks], of each 128 numbers of a layer, the last block shorter; exact norms, "
                + "float64 [n]; losses, float64 [n]; SHA-256 of the SHA-256 of manifest.json, the shard's number as int32, and all "
                + "bytes before",
            Weights = session.WeightsFingerprint(),
            Dimension = projection.Dimension,
            Seed = projection.Seed,
            Dtype = NameOf(projection.Dtype),
            ExamplesPerShard = projection.ExamplesPerShard,
            Count = ids.Count,
            IdsHash = Hash(Bytes(ids)),
            Form = NameOf(projection.Form),
            MatricesHash = string.Empty,
            Direction = Describe(projection),
            Layers = LayersOf(session, projection),
            FitExamples =
                projection.Direction == GradientProjection.UpdateDirection.Preconditioned ? projection.Preconditioner!.Info.Examples : 0,
        };

    public long Width() => Layers.Sum(layer => layer.Size());

    /// <summary>How many numbers share a scale, block by block, where rows are int8; else empty.</summary>
    public int[] BlockSizes() => Type() == ScalarType.Int8 ? Int8Blocks.Sizes(Layers) : [];

    public ScalarType Type() =>
        Dtype switch
        {
            "int8" => ScalarType.Int8,
            "float16" => ScalarType.Float16,
            "float32" => ScalarType.Float32,
            _ => ScalarType.Float64,
        };

    /// <summary>The examples of a shard.</summary>
    public int CountOf(int shard) => Math.Min(ExamplesPerShard, Count - (shard * ExamplesPerShard));

    public static string ShardName(int shard) => string.Create(CultureInfo.InvariantCulture, $"shard-{shard:000000}.bin");

    public void Save(string folder) =>
        AtomicFile.Write(Path.Combine(folder, FileName), stream => JsonSerializer.Serialize(stream, this, s_json));

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
        Add("Form", folder.Form, Form);
        Add("the direction", folder.Direction, Direction);

        // Another Dimension keeps other numbers of each layer, which says nothing new.
        if (folder.Dimension == Dimension && folder.Form == Form && !folder.Layers.SequenceEqual(Layers))
        {
            differences.Add(
                $"the layers (the store's: {InfluenceException.List([.. folder.Layers.Select(l => l.Name)])}; now: "
                    + $"{InfluenceException.List([.. Layers.Select(l => l.Name)])})"
            );
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

    public GradientProjection.Kind FormOf() =>
        Form switch
        {
            TwoSided => GradientProjection.Kind.TwoSided,
            Principal => GradientProjection.Kind.Principal,
            Dense => GradientProjection.Kind.Dense,
            _ => GradientProjection.Kind.CountSketch,
        };

    /// <summary>What became of gradients before the projection; the text goes on with the step.</summary>
    public GradientProjection.UpdateDirection DirectionOf() =>
        Direction.StartsWith(Update, StringComparison.Ordinal) ? GradientProjection.UpdateDirection.AdamUpdate
        : Direction.StartsWith(Scaled, StringComparison.Ordinal) ? GradientProjection.UpdateDirection.AdamScaled
        : Direction.StartsWith(Preconditioned, StringComparison.Ordinal) ? GradientProjection.UpdateDirection.Preconditioned
        : GradientProjection.UpdateDirection.Gradient;

    private static string Describe(GradientProjection projection) =>
        projection switch
        {
            { Preconditioner: { } fit, Direction: GradientProjection.UpdateDirection.Preconditioned } => Preconditioned
                + StoredCurvature.Describe(fit, projection.Damping),
            { Direction: GradientProjection.UpdateDirection.Preconditioned } => throw new InfluenceException(
                "Direction = Preconditioned takes the curvature of a fit, and Preconditioner is missing. Write Preconditioner = "
                    + "Ekfac.Fit(task, train)."
            ),
            { Preconditioner: not null } or { Damping: not null } => throw new InfluenceException(
                $"Preconditioner and Damping change nothing where Direction is {projection.Direction}. Write Direction = "
                    + "GradientProjection.UpdateDirection.Preconditioned, or leave them out."
            ),
            { Moments: { } moments, Direction: not GradientProjection.UpdateDirection.Gradient } => string.Create(
                CultureInfo.InvariantCulture,
                $"{(projection.Direction == GradientProjection.UpdateDirection.AdamUpdate ? Update : Scaled)}, moments of step "
                    + $"{moments.Step}, {moments.Optimizer}"
            ),
            { Direction: not GradientProjection.UpdateDirection.Gradient } => throw new InfluenceException(
                $"Direction = {projection.Direction} takes Adam's moments from a checkpoint, and Moments is missing. Write Moments = "
                    + $"Checkpoint.FromFile(path)."
            ),
            _ => string.Empty,
        };

    private static string NameOf(GradientProjection.Kind form) =>
        form switch
        {
            GradientProjection.Kind.TwoSided => TwoSided,
            GradientProjection.Kind.Principal => Principal,
            GradientProjection.Kind.Dense => Dense,
            _ => CountSketch,
        };

    /// <summary>Of a projection of the whole gradient one entry, which stands for all parts.</summary>
    private static StoredLayer[] LayersOf(GradientSession session, GradientProjection projection)
    {
        var parts = session.Parts.SelectMany(own => own).ToList();
        if (projection.IsByLayer)
        {
            return [.. parts.Select(part => StoredLayer.Of(part, projection.Dimension))];
        }

        var all = parts.Sum(part => part.Count);
        return [new StoredLayer("the whole gradient", all, 1, Math.Min(all, projection.Dimension), 1)];
    }

    private static string NameOf(ScalarType type) =>
        type switch
        {
            ScalarType.Int8 => "int8",
            ScalarType.Float16 => "float16",
            ScalarType.Float32 => "float32",
            _ => "float64",
        };

    /// <summary>Whether every part is there and they fit together; what JSON leaves out or sets to null is not trusted to be.</summary>
    private bool IsSound() =>
        Generator is not null
        && Weights is not null
        && Layout is not null
        && Dtype is "int8" or "float16" or "float32" or "float64"
        && IdsHash is { Length: 64 }
        && Dimension >= 1
        && ExamplesPerShard >= 1
        && Count >= 1
        && Layers is { Length: > 0 }
        && Direction is not null
        && MatricesHash is { Length: 0 or 64 }
        && Form is TwoSided or Principal or Dense or CountSketch
        && Array.TrueForAll(
            Layers,
            l =>
                l is { Name: not null, Outputs: > 0, Inputs: > 0, KeptOutputs: > 0, KeptInputs: > 0 }
                && l.KeptOutputs <= l.Outputs
                && l.KeptInputs <= l.Inputs
        )
        && Layers.Select(l => l.Name).Distinct().Count() == Layers.Length;
}
