using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Influence.Formats;

namespace Influence.Evaluation;

/// <summary>A folder of retraining runs: a manifest, and one file a finished run, there whole or not at all.</summary>
internal sealed class RetrainingFolder
{
    public const string ManifestName = "retraining.json";
    private const string RunFormat = "influence.retraining.run/2";

    // Before there was a checksum.
    private const string EarlierRunFormat = "influence.retraining.run/1";

    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly string _path;
    private readonly string _fingerprint;

    private RetrainingFolder(string path, RetrainingManifest manifest) =>
        (_path, Manifest, _fingerprint) = (path, manifest, manifest.Fingerprint());

    public RetrainingManifest Manifest { get; }

    /// <summary>Opens a folder for a set-up, or makes it.</summary>
    /// <exception cref="InfluenceException">It was made for another set-up, or cannot be written.</exception>
    public static RetrainingFolder Open(string path, RetrainingManifest manifest)
    {
        var file = Path.Combine(path, ManifestName);
        using (FolderLock.Take(path))
        {
            if (!File.Exists(file))
            {
                AtomicFile.Write(file, stream => stream.Write(manifest.ToBytes()));
            }

            PartialFile.Sweep(path);
        }

        var found = RetrainingManifest.Load(file);
        var differences = manifest.DifferencesFrom(found);
        return differences.Count == 0
            ? new RetrainingFolder(path, manifest)
            : throw new InfluenceException(
                $"The folder {path} holds runs of another set-up. It differs in {string.Join("; ", differences)}. Give each set-up a "
                    + "folder of its own, or go on with the old one as it was."
            );
    }

    /// <summary>Opens a folder to read.</summary>
    /// <exception cref="InfluenceException">It is missing or holds no manifest.</exception>
    public static RetrainingFolder Open(string path) => new(path, RetrainingManifest.Load(Path.Combine(path, ManifestName)));

    public string ClaimPath(int run) => Path.Combine(_path, Name(run) + ".claim");

    /// <summary>A finished run's values as the training function gave them; null where there are none, with the reason where a file is
    /// there.</summary>
    public (double[]? Values, string? Problem) Read(int run)
    {
        var file = RunPath(run);
        try
        {
            if (!File.Exists(file))
            {
                return (null, null);
            }

            var record = JsonSerializer.Deserialize<RunRecord>(SharedFile.ReadAllBytes(file), s_json);
            return record is null
                || record.Format is not (RunFormat or EarlierRunFormat)
                || record.Run != run
                || record.SetUp != _fingerprint
                    ? (null, $"{file} is not run {run} of this set-up")
                : record.Values is null || record.Values.Length != Manifest.QueryIds.Length
                    ? (null, $"{file} holds {record.Values?.Length ?? 0} values for {Manifest.QueryIds.Length} queries")
                : (record.Format == RunFormat || record.Sha256 is not null) && record.Sha256 != Hash(run, record.Values)
                    ? (null, $"{file} is damaged: its values are not those of its checksum")
                : (record.Values, null);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or NotSupportedException)
        {
            return (null, $"{file} cannot be read: {exception.Message}");
        }
    }

    /// <summary>Records a finished run.</summary>
    public void Write(int run, double[] values, TimeSpan elapsed) =>
        AtomicFile.Write(
            RunPath(run),
            stream =>
                JsonSerializer.Serialize(
                    stream,
                    new RunRecord(RunFormat, _fingerprint, run, values, elapsed.TotalSeconds, Hash(run, values)),
                    s_json
                )
        );

    /// <summary>SHA-256 of the set-up, the run and the values' bits.</summary>
    private string Hash(int run, double[] values)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{_fingerprint} {run} ")));
        foreach (var value in values)
        {
            // Every NaN is written as the same text.
            hash.AppendData(BitConverter.GetBytes(double.IsNaN(value) ? double.NaN : value));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static string Name(int run) => string.Create(CultureInfo.InvariantCulture, $"run-{run:D6}");

    private string RunPath(int run) => Path.Combine(_path, Name(run) + ".json");

    private sealed record RunRecord(string Format, string SetUp, int Run, double[] Values, double Seconds, string? Sha256 = null);
}
