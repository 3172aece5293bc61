using System.Security.Cryptography;
using System.Text.Json;
using Influence.Formats;

namespace Influence.Evaluation;

/// <summary>What a folder of runs was set up for. Two set-ups are the same when their manifests are, byte for byte.</summary>
internal sealed record RetrainingManifest
{
    public const string FormatName = "influence.retraining/1";
    private const int MostRuns = 10_000_000;
    private static readonly JsonSerializerOptions s_json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public required string Format { get; init; }

    public required string Settings { get; init; }

    public required bool HigherIsBetter { get; init; }

    public required long[] Seeds { get; init; }

    public required long[] QueryIds { get; init; }

    public required long[] TrainIds { get; init; }

    public required string[] SubsetNames { get; init; }

    /// <summary>One bit an example, subset by subset.</summary>
    public required byte[][] SubsetBits { get; init; }

    public int RunCount => SubsetNames.Length * Seeds.Length;

    public static RetrainingManifest Of(
        Subsets subsets,
        IReadOnlyList<long> queryIds,
        IReadOnlyList<long> seeds,
        string settings,
        bool higherIsBetter
    ) =>
        new()
        {
            Format = FormatName,
            Settings = settings,
            HigherIsBetter = higherIsBetter,
            Seeds = [.. seeds],
            QueryIds = [.. queryIds],
            TrainIds = [.. subsets.TrainIds],
            SubsetNames = [.. subsets.Select(s => s.Name)],
            SubsetBits = [.. subsets.Select(s => s.Bits)],
        };

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, s_json);

    /// <summary>SHA-256 of the manifest's bytes.</summary>
    public string Fingerprint() => Convert.ToHexStringLower(SHA256.HashData(ToBytes()));

    public Subsets Subsets() => new(TrainIds, SubsetNames.Zip(SubsetBits));

    /// <summary>The subset and the seed of a run.</summary>
    public (int Subset, long Seed) RunOf(int index) => (index / Seeds.Length, Seeds[index % Seeds.Length]);

    /// <summary>Every run, the first seed of all subsets before the second: a folder that is cut off is then of use.</summary>
    public IEnumerable<int> Order() =>
        Enumerable.Range(0, Seeds.Length).SelectMany(s => Enumerable.Range(0, SubsetNames.Length).Select(j => (j * Seeds.Length) + s));

    /// <exception cref="InfluenceException">The file is missing or is no manifest.</exception>
    public static RetrainingManifest Load(string path)
    {
        try
        {
            var manifest = JsonSerializer.Deserialize<RetrainingManifest>(SharedFile.ReadAllBytes(path), s_json);
            if (manifest is { Format: FormatName } && manifest.IsSound())
            {
                return manifest;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or NotSupportedException)
        {
            throw new InfluenceException($"{path} cannot be read as the manifest of retraining runs: {exception.Message}", exception);
        }

        throw new InfluenceException($"{path} is not the manifest of retraining runs that Retraining writes.");
    }

    /// <summary>Whether every part is there and they fit together; what JSON leaves out or sets to null is not trusted to be.</summary>
    private bool IsSound() =>
        Settings is not null
        && Seeds is { Length: > 0 }
        && QueryIds is { Length: > 0 }
        && TrainIds is not null
        && SubsetNames is not null
        && SubsetBits is not null
        && SubsetNames.Length == SubsetBits.Length
        && (long)SubsetNames.Length * Seeds.Length <= MostRuns
        && Array.TrueForAll(SubsetNames, name => name is not null)
        && Array.TrueForAll(SubsetBits, AreBitsOfExamples)
        && AreDifferent(Seeds)
        && AreDifferent(QueryIds)
        && AreDifferent(TrainIds);

    /// <summary>The last byte has no bit beyond the last example.</summary>
    private bool AreBitsOfExamples(byte[]? bits) =>
        bits is not null
        && bits.Length == (TrainIds.Length + 7) / 8
        && (TrainIds.Length % 8 == 0 || bits[^1] >> (TrainIds.Length % 8) == 0);

    private static bool AreDifferent(long[] ids) => ids.Distinct().Count() == ids.Length;

    /// <summary>In what this set-up differs from the one that a folder was made for.</summary>
    public IReadOnlyList<string> DifferencesFrom(RetrainingManifest folder)
    {
        var differences = new List<string>();
        Add("the settings", $"\"{PlainText.Name(folder.Settings)}\"", $"\"{PlainText.Name(Settings)}\"", Settings == folder.Settings);
        Add("what is better", Better(folder), Better(this), HigherIsBetter == folder.HigherIsBetter);
        Add("the seeds", InfluenceException.List(folder.Seeds), InfluenceException.List(Seeds), Seeds.SequenceEqual(folder.Seeds));
        Add("the queries", $"{folder.QueryIds.Length} ids", $"{QueryIds.Length} ids", QueryIds.SequenceEqual(folder.QueryIds));
        Add("the training examples", $"{folder.TrainIds.Length} ids", $"{TrainIds.Length} ids", TrainIds.SequenceEqual(folder.TrainIds));
        Add(
            "the subsets",
            $"{folder.SubsetNames.Length} ({PlainText.Name(folder.SubsetNames.FirstOrDefault())}, ...)",
            $"{SubsetNames.Length} ({PlainText.Name(SubsetNames.FirstOrDefault())}, ...)",
            SubsetNames.SequenceEqual(folder.SubsetNames)
                && SubsetBits.Length == folder.SubsetBits.Length
                && SubsetBits.Zip(folder.SubsetBits).All(p => p.First.AsSpan().SequenceEqual(p.Second))
        );
        return differences;

        void Add(string what, string theirs, string ours, bool same)
        {
            if (!same)
            {
                differences.Add(theirs == ours ? $"{what} (as many, but not the same)" : $"{what} (the folder's: {theirs}; now: {ours})");
            }
        }

        static string Better(RetrainingManifest manifest) => manifest.HigherIsBetter ? "higher" : "lower";
    }
}
