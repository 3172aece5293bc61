using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Distributed;

/// <summary>What a folder of units is of. A folder is a call's where their facts are the same, and the first example's loss up to
/// rounding.</summary>
internal sealed record WorkManifest
{
    public const string FileName = "work.json";
    private const string FormatName = "influence.work/1";
    private const int Looked = 256;
    private const double LossTolerance = 1e-3;
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        NewLine = "\n",
    };

    public required string Format { get; init; }

    /// <summary>What is done, for example EK-FAC fit.</summary>
    public string Call { get; init; } = string.Empty;

    /// <summary>Names in words, and values in text.</summary>
    public SortedDictionary<string, string> Facts { get; init; } = [];

    /// <summary>The first example's loss; null where it is not known.</summary>
    public double? Loss { get; init; }

    /// <param name="call">What is done.</param>
    /// <param name="weights">A fingerprint of the weights and of the names that take part.</param>
    /// <param name="train">The examples that are cut into units.</param>
    /// <param name="units">The units.</param>
    /// <param name="loss">The first example's.</param>
    /// <param name="settings">Everything else that the result depends on.</param>
    public static WorkManifest Of(
        string call,
        string weights,
        Examples train,
        WorkUnits units,
        double? loss,
        params IEnumerable<(string Name, string Value)> settings
    )
    {
        var facts = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["the weights, or the layers"] = weights,
            ["the training examples"] = Describe(train),
            ["ExamplesPerUnit"] = units.Size.ToString(CultureInfo.InvariantCulture),
        };
        foreach (var (name, value) in settings)
        {
            facts[name] = value;
        }

        return new WorkManifest
        {
            Format = FormatName,
            Call = call,
            Facts = facts,
            Loss = loss is { } number && double.IsFinite(number) ? number : null,
        };
    }

    /// <summary>Their number, a hash of their ids, and one of some of them: spread over all where they are tensors, else of the first
    /// batch.</summary>
    public static string Describe(Examples examples)
    {
        using var scope = NewDisposeScope();
        using var data = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        if (examples.IsIndexable)
        {
            var count = Math.Min(Looked, examples.Count);
            var batch = examples.Gather([.. Enumerable.Range(0, count).Select(i => (int)((long)i * examples.Count / count))]);
            Append(batch);
            batch.Free();
        }
        else
        {
            foreach (var batch in examples.Batches().Take(1))
            {
                Append(batch);
            }
        }

        var ids = new byte[8L * examples.Count];
        for (var i = 0; i < examples.Count; i++)
        {
            BitConverter.TryWriteBytes(ids.AsSpan(8 * i), examples.Ids[i]);
        }

        return string.Create(
            CultureInfo.InvariantCulture,
            $"{examples.Count}, ids {Short(SHA256.HashData(ids))}, data {Short(data.GetHashAndReset())}"
        );

        void Append(ExampleBatch batch)
        {
            foreach (var name in batch.Names)
            {
                var value = batch[name];
                data.AppendData(
                    Encoding.UTF8.GetBytes(
                        string.Create(CultureInfo.InvariantCulture, $"{name} {value.dtype} {string.Join(',', value.shape)}\0")
                    )
                );
                using var plain = value.detach().cpu().contiguous().clone();
                data.AppendData(plain.bytes);
            }
        }
    }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, s_json);

    /// <summary>What every file of the folder says it belongs to; the loss, which machines may round differently, has no part in
    /// it.</summary>
    public string Key() => Short(SHA256.HashData((this with { Loss = null }).ToBytes()));

    /// <exception cref="InfluenceException">The file cannot be read, or is none.</exception>
    public static WorkManifest Load(string path)
    {
        try
        {
            if (
                JsonSerializer.Deserialize<WorkManifest>(SharedFile.ReadAllBytes(path), s_json) is
                { Format: FormatName, Call: not null, Facts: not null } manifest
            )
            {
                return manifest;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or NotSupportedException)
        {
            throw new InfluenceException($"{path} cannot be read as the manifest of a folder of work: {exception.Message}", exception);
        }

        throw new InfluenceException(
            $"{path} is not a manifest that this version writes ({FormatName}): the folder is of another "
                + "version, or something else. Give the call a folder of its own."
        );
    }

    /// <summary>In what the call that a folder holds units of differs from this one.</summary>
    public IReadOnlyList<string> DifferencesFrom(WorkManifest folder)
    {
        var differences = new List<string>();
        Add("the call", folder.Call, Call);
        foreach (
            var name in Call == folder.Call ? Facts.Keys.Union(folder.Facts.Keys).Order(StringComparer.Ordinal) : Enumerable.Empty<string>()
        )
        {
            Add(name, folder.Facts.GetValueOrDefault(name, "none"), Facts.GetValueOrDefault(name, "none"));
        }

        if (
            differences.Count == 0
            && Loss is { } ours
            && folder.Loss is { } theirs
            && Math.Abs(ours - theirs) > LossTolerance * Math.Max(Math.Abs(ours), Math.Abs(theirs))
        )
        {
            Add(
                "the first example's loss",
                theirs.ToString("G6", CultureInfo.InvariantCulture),
                ours.ToString("G6", CultureInfo.InvariantCulture)
            );
        }

        return differences;

        void Add(string what, string theirs, string ours)
        {
            if (theirs != ours)
            {
                differences.Add($"{PlainText.Name(what)} (the folder's: {PlainText.Lines(theirs)}; now: {ours})");
            }
        }
    }

    private static string Short(byte[] hash) => Convert.ToHexStringLower(hash)[..16];
}
