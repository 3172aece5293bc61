using System.Globalization;
using System.Text.Json;
using Influence.Display;
using Influence.Formats;
using Influence.Numerics;

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

    /// <summary>Notes one after the other, without those that are empty.</summary>
    internal static string Joined(params IEnumerable<string> notes) => string.Join("; ", notes.Where(note => note.Length > 0));

    /// <summary>
    /// Empty for scores that were computed here, or read from a file whose checksum was right; "unverified: ..." where the file has no
    /// checksum, as those of other tools and of earlier versions: then nobody can tell whether its bytes are those that were written.
    /// </summary>
    public string Integrity { get; init; } = string.Empty;

    /// <summary>
    /// What the call that made the scores took, stage by stage; null for scores that no call of the library made, and for those of files
    /// that do not say it. Of two runs that give the same scores it is never the same.
    /// </summary>
    public RunCost? Cost { get; init; } = RunCost.OfCallUnderWay();

    /// <summary>Gives what is known as an HTML table, for notebooks and other front ends.</summary>
    /// <returns>The fragment.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            Estimator,
            ["of the scores", "is"],
            [
                .. (this with { Cost = null })
                    .ToStrings()
                    .Where(pair => pair.Value.Length > 0)
                    .Select(pair => (IReadOnlyList<object>)[pair.Key[Prefix.Length..].Replace('_', ' '), pair.Value]),
                .. Cost is null
                    ? Array.Empty<IReadOnlyList<object>>()
                    :
                    [
                        ["cost", Cost.ToString()],
                    ],
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
            [Prefix + "cost"] = Cost?.ToJson() ?? string.Empty,
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
            Cost = RunCost.FromJson(strings.GetValueOrDefault(Prefix + "cost")),
        };

        // These are printed: nothing of a file reaches a terminal as it is, and what nobody vouches for is not printed at any length.
        string Get(string key, string missing) =>
            strings.GetValueOrDefault(Prefix + key) is { } text
                ? (integrity.Length > 0 ? PlainText.Message(text) : PlainText.Lines(text))
                : missing;
    }

    /// <summary>
    /// What a call took: seconds by the clock, seconds of the processor, and the most memory that the process held, for the whole and for
    /// each of its stages.
    /// </summary>
    /// <remarks>
    /// Stages are what the library does: the audit of the model, the query pass, the training pass, preconditioning, a fit's passes and its
    /// decompositions; a stage with the call's own name is what lies between them. A moment counts for one stage alone, so that seconds add
    /// up. On a GPU work is queued, and its time counts for the stage that waits for it.
    /// </remarks>
    public sealed record RunCost
    {
        private const int MostStages = 64;

        /// <summary>The stages, in the order of their beginnings.</summary>
        public required IReadOnlyList<Stage> Stages { get; init; }

        /// <summary>
        /// Bytes that the process held at most while the call ran, libtorch's and the program's own included: exact where it never held as
        /// much before, else the largest size that was seen at the stages' ends. Memory of a GPU is not in it.
        /// </summary>
        public required long PeakMemory { get; init; }

        /// <summary>Seconds by the clock, from the call's beginning to its result.</summary>
        public double Seconds => Stages.Sum(stage => stage.Seconds);

        /// <summary>Seconds that the process had a processor for, all its threads together, other work of the program included; null where
        /// the system does not tell.</summary>
        public double? ProcessorSeconds =>
            Stages.Any(stage => stage.ProcessorSeconds is null) ? null : Stages.Sum(stage => stage.ProcessorSeconds);

        /// <summary>One line, for example <c>2.10 s (audit 0.30 s, query pass 0.50 s, training pass 1.30 s), 3.92 s of the processor, at
        /// most 812 MB</c>.</summary>
        /// <returns>The line.</returns>
        public override string ToString()
        {
            var stages = string.Join(
                ", ",
                Stages.Select(stage => string.Create(CultureInfo.InvariantCulture, $"{stage.Name} {stage.Seconds:0.00} s"))
            );
            var processor = ProcessorSeconds is { } seconds
                ? string.Create(CultureInfo.InvariantCulture, $", {seconds:0.00} s of the processor")
                : string.Empty;
            return string.Create(CultureInfo.InvariantCulture, $"{Seconds:0.00} s ({stages}){processor}, at most {PeakMemory / 1e6:N0} MB");
        }

        /// <summary>Two are equal whose figures are.</summary>
        /// <param name="other">The other.</param>
        /// <returns>Whether they are.</returns>
        public bool Equals(RunCost? other) => other is not null && PeakMemory == other.PeakMemory && Stages.SequenceEqual(other.Stages);

        /// <inheritdoc/>
        public override int GetHashCode() => HashCode.Combine(PeakMemory, Stages.Count);

        /// <summary>That of the library's call that runs on this thread, as far as it has come; null outside of calls.</summary>
        internal static RunCost? OfCallUnderWay() => CostMeter.Current is { } meter ? Of(meter) : null;

        internal static RunCost Of(CostMeter meter) =>
            new()
            {
                Stages =
                [
                    .. meter
                        .Stages()
                        .Select(tally => new Stage(tally.Name, tally.Time.TotalSeconds, tally.Processor?.TotalSeconds, tally.Memory)),
                ],
                PeakMemory = meter.PeakMemory(),
            };

        internal string ToJson() =>
            JsonSerializer.Serialize(
                new Dictionary<string, object>
                {
                    ["peak_memory"] = PeakMemory,
                    ["stages"] = Stages.Select(stage => new Dictionary<string, object?>
                    {
                        ["name"] = stage.Name,
                        ["seconds"] = stage.Seconds,
                        ["processor_seconds"] = stage.ProcessorSeconds,
                        ["peak_memory"] = stage.PeakMemory,
                    }),
                }
            );

        /// <returns>Null for what is none: nobody vouches for a file.</returns>
        internal static RunCost? FromJson(string? text)
        {
            if (string.IsNullOrEmpty(text))
            {
                return null;
            }

            try
            {
                using var json = JsonDocument.Parse(text);
                var cost = new RunCost
                {
                    PeakMemory = json.RootElement.GetProperty("peak_memory").GetInt64(),
                    Stages =
                    [
                        .. json
                            .RootElement.GetProperty("stages")
                            .EnumerateArray()
                            .Take(MostStages)
                            .Select(stage => new Stage(
                                PlainText.Name(stage.GetProperty("name").GetString()),
                                stage.GetProperty("seconds").GetDouble(),
                                stage.GetProperty("processor_seconds") is { ValueKind: JsonValueKind.Number } processor
                                    ? processor.GetDouble()
                                    : null,
                                stage.GetProperty("peak_memory").GetInt64()
                            )),
                    ],
                };
                return cost;
            }
            catch (Exception exception)
                when (exception is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
            {
                return null;
            }
        }

        /// <summary>A stage of a call.</summary>
        /// <param name="Name">What was done.</param>
        /// <param name="Seconds">By the clock.</param>
        /// <param name="ProcessorSeconds">Of the processor, all threads of the process together; null where the system does not
        /// tell.</param>
        /// <param name="PeakMemory">The most bytes that the process was seen to hold in it.</param>
        public sealed record Stage(string Name, double Seconds, double? ProcessorSeconds, long PeakMemory);
    }
}
