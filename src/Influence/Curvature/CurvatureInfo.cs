using System.Globalization;
using Influence.Formats;

namespace Influence.Curvature;

/// <summary>How a preconditioner was made: enough to tell whether it belongs to a model, and to report it with the scores.</summary>
public sealed record CurvatureInfo
{
    private const string Prefix = "influence.curvature.";

    /// <summary>The method, for example <c>EK-FAC</c>.</summary>
    public required string Method { get; init; }

    /// <summary>Which matrix is inverted, for example <c>true Fisher, sampled labels</c>.</summary>
    public required string Matrix { get; init; }

    /// <summary>The damping where a call gives none.</summary>
    public required Damping Damping { get; init; }

    /// <summary>The number of examples that it was fitted on, N: a score over N is the predicted effect of leaving one out.</summary>
    public required int Examples { get; init; }

    /// <summary>The seed of sampled labels and of other draws.</summary>
    public long Seed { get; init; }

    /// <summary>
    /// A hash of all the model's weights and buffers at the time of the fit, frozen ones too, and of the names of the parameters that take
    /// part. Files of earlier versions have a hash of the parameters that take part alone; they are accepted with a warning in the log.
    /// Tensors that a module holds in plain fields are not seen.
    /// </summary>
    public required string Weights { get; init; }

    /// <summary>
    /// Empty for a fit that was made here, or read from a file whose checksum was right; "unverified: ..." where the file has none, as
    /// those of earlier versions.
    /// </summary>
    public string Integrity { get; init; } = string.Empty;

    /// <summary>What the fit took, stage by stage; null for a fit from a file that does not say it.</summary>
    public ScoreMetadata.RunCost? Cost { get; init; } = ScoreMetadata.RunCost.OfCallUnderWay();

    internal Dictionary<string, string> ToStrings() =>
        new()
        {
            [Prefix + "method"] = Method,
            [Prefix + "matrix"] = Matrix,
            [Prefix + "damping"] = Damping.ToString(),
            [Prefix + "examples"] = Examples.ToString(CultureInfo.InvariantCulture),
            [Prefix + "seed"] = Seed.ToString(CultureInfo.InvariantCulture),
            [Prefix + "weights"] = Weights,
            [Prefix + "cost"] = Cost?.ToJson() ?? string.Empty,
        };

    /// <exception cref="InfluenceException">The metadata are not those of a fit, or name what none can have.</exception>
    internal static CurvatureInfo FromFile(SafetensorsFile file, string path)
    {
        return new CurvatureInfo
        {
            Method = Get("method"),
            Matrix = Get("matrix"),
            Damping = Damping.TryParse(Get("damping")) ?? throw Bad("damping", "a damping"),
            Examples =
                int.TryParse(Get("examples"), NumberStyles.None, CultureInfo.InvariantCulture, out var examples) && examples > 0
                    ? examples
                    : throw Bad("examples", "a number above zero"),
            Seed = long.TryParse(Get("seed"), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var seed)
                ? seed
                : throw Bad("seed", "a whole number"),
            Weights = Get("weights"),
            Integrity = file.Integrity,
            Cost = ScoreMetadata.RunCost.FromJson(file.Metadata.GetValueOrDefault(Prefix + "cost")),
        };

        string Get(string key) =>
            file.Metadata.TryGetValue(Prefix + key, out var value)
                ? PlainText.Lines(value)
                : throw new InfluenceException($"{path} is not a saved preconditioner: its metadata lack \"{Prefix}{key}\".");

        InfluenceException Bad(string key, string expected) =>
            new($"{path} is not a saved preconditioner: its \"{Prefix}{key}\" is \"{PlainText.Name(Get(key))}\"; expected {expected}.");
    }
}
