using System.Globalization;

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
    /// A hash of all the model's weights and buffers at the time of the fit, frozen ones too, and of the names of the parameters that take part.
    /// Files of earlier versions have a hash of the parameters that take part alone; they are accepted with a warning in the log.
    /// Tensors that a module holds in plain fields are not seen.
    /// </summary>
    public required string Weights { get; init; }

    internal Dictionary<string, string> ToStrings() => new()
    {
        [Prefix + "method"] = Method,
        [Prefix + "matrix"] = Matrix,
        [Prefix + "damping"] = Damping.ToString(),
        [Prefix + "examples"] = Examples.ToString(CultureInfo.InvariantCulture),
        [Prefix + "seed"] = Seed.ToString(CultureInfo.InvariantCulture),
        [Prefix + "weights"] = Weights,
    };

    internal static CurvatureInfo FromStrings(IReadOnlyDictionary<string, string> strings, string path)
    {
        return new CurvatureInfo
        {
            Method = Get("method"),
            Matrix = Get("matrix"),
            Damping = Damping.Parse(Get("damping")),
            Examples = (int)Number("examples"),
            Seed = Number("seed"),
            Weights = Get("weights"),
        };

        long Number(string key) => long.TryParse(Get(key), CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new InfluenceException($"{path} is not a saved preconditioner: its \"{Prefix}{key}\" is \"{Get(key)}\", which is no number.");

        string Get(string key) => strings.TryGetValue(Prefix + key, out var value)
            ? value
            : throw new InfluenceException($"{path} is not a saved preconditioner: its metadata lack \"{Prefix}{key}\".");
    }
}
