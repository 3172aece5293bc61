using System.Globalization;
using Influence.Display;
using Influence.Formats;

namespace Influence;

/// <summary>What a set of scores is: enough to read it right a year later.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed record ScoreMetadata : IDisplay
{
    private const string Prefix = "influence.";

    /// <summary>The estimator and its settings, for example <c>TracIn (cosine)</c>.</summary>
    public required string Estimator { get; init; }

    /// <summary>The checkpoints that were summed over, with their learning rates.</summary>
    public string Checkpoints { get; init; } = "current weights";

    /// <summary>How an example's loss is reduced: one value per example, as the loss delegate gives it.</summary>
    public string LossReduction { get; init; } = "per example, as the loss delegate returns it";

    /// <summary>What a positive score means.</summary>
    public string Sign { get; init; } = "positive = proponent: training on the example lowers the query's measurement";

    /// <summary>What a score measures.</summary>
    public required string Unit { get; init; }

    /// <summary>The curvature that was inverted, and how far a solver came; empty where there is none.</summary>
    public string Curvature { get; init; } = string.Empty;

    /// <summary>The damping, as asked for and as it was block by block; empty where there is none.</summary>
    public string Damping { get; init; } = string.Empty;

    /// <summary>
    /// The factor that turns a score into the predicted rise of the query's measurement when the example is left out; null
    /// where the scores are not in that unit.
    /// </summary>
    public double? LeaveOneOutFactor { get; init; }

    /// <summary>The layers that took part.</summary>
    public string Layers { get; init; } = LayerSelection.All.Description;

    /// <summary>The share of the model's trainable parameters that took part, 0 to 1.</summary>
    public double Coverage { get; init; } = 1;

    /// <summary>Anything else that one must know to read the scores right; empty where there is nothing.</summary>
    public string Notes { get; init; } = string.Empty;

    /// <summary>
    /// Empty for scores that were computed here, or read from a file whose checksum was right; "unverified: ..." where the file has no
    /// checksum, as those of other tools and of earlier versions: then nobody can tell whether its bytes are those that were written.
    /// </summary>
    public string Integrity { get; init; } = string.Empty;

    /// <summary>Gives what is known as an HTML table, for notebooks and other front ends.</summary>
    /// <returns>The fragment.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            Estimator,
            ["of the scores", "is"],
            [
                .. ToStrings()
                    .Where(pair => pair.Value.Length > 0)
                    .Select(pair => (IReadOnlyList<object>)[pair.Key[Prefix.Length..].Replace('_', ' '), pair.Value]),
            ]
        );

    internal Dictionary<string, string> ToStrings() =>
        new()
        {
            [Prefix + "estimator"] = Estimator,
            [Prefix + "checkpoints"] = Checkpoints,
            [Prefix + "loss_reduction"] = LossReduction,
            [Prefix + "sign"] = Sign,
            [Prefix + "unit"] = Unit,
            [Prefix + "curvature"] = Curvature,
            [Prefix + "damping"] = Damping,
            [Prefix + "leave_one_out_factor"] = LeaveOneOutFactor?.ToString("R", CultureInfo.InvariantCulture) ?? string.Empty,
            [Prefix + "layers"] = Layers,
            [Prefix + "coverage"] = Coverage.ToString("R", CultureInfo.InvariantCulture),
            [Prefix + "notes"] = Notes,
            [Prefix + "integrity"] = Integrity,
        };

    /// <param name="strings">The strings of a file.</param>
    /// <param name="integrity">What the file itself says; empty: it was checked, and the scores are what they were when they were
    /// saved.</param>
    internal static ScoreMetadata FromStrings(IReadOnlyDictionary<string, string> strings, string integrity)
    {
        return new ScoreMetadata
        {
            Estimator = Get("estimator", "unknown"),
            Checkpoints = Get("checkpoints", "unknown"),
            LossReduction = Get("loss_reduction", "unknown"),
            Sign = Get("sign", "unknown"),
            Unit = Get("unit", "unknown"),
            Curvature = Get("curvature", string.Empty),
            Damping = Get("damping", string.Empty),
            LeaveOneOutFactor = double.TryParse(
                Get("leave_one_out_factor", string.Empty),
                NumberStyles.Float,
                CultureInfo.InvariantCulture,
                out var factor
            )
                ? factor
                : null,
            Layers = Get("layers", "unknown"),
            Coverage = double.TryParse(Get("coverage", string.Empty), NumberStyles.Float, CultureInfo.InvariantCulture, out var share)
                ? share
                : double.NaN,
            Notes = Get("notes", string.Empty),
            Integrity = integrity.Length > 0 ? integrity : Get("integrity", string.Empty),
        };

        // These are printed: nothing of a file reaches a terminal as it is, and what nobody vouches for is not printed at any length.
        string Get(string key, string missing) =>
            strings.GetValueOrDefault(Prefix + key) is { } text
                ? (integrity.Length > 0 ? PlainText.Message(text) : PlainText.Lines(text))
                : missing;
    }
}
