using System.Globalization;
using Influence.Formats;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

// What was recorded, at rest.
public sealed partial class TrainingDynamics
{
    private const string Format = "influence training dynamics 2";
    private static readonly (string Name, ScalarType Type)[] s_tensors =
    [
        ("ids", ScalarType.Int64),
        ("example", ScalarType.Int32),
        ("probability", ScalarType.Float32),
        ("margin", ScalarType.Float32),
        ("loss", ScalarType.Float32),
        ("el2n", ScalarType.Float32),
        ("correct", ScalarType.Byte),
        ("step_ends", ScalarType.Int64),
        ("step_empty", ScalarType.Int32),
        ("norm_example", ScalarType.Int32),
        ("norm", ScalarType.Float32),
        ("norm_steps", ScalarType.Int64),
        ("norm_ends", ScalarType.Int64),
    ];

    private static readonly (string Name, double Least, double Most)[] s_ranges =
    [
        ("probability", 0, 1.001),
        ("margin", double.NegativeInfinity, double.PositiveInfinity),
        ("loss", double.NegativeInfinity, double.PositiveInfinity),
        ("el2n", 0, double.PositiveInfinity),
        ("correct", 0, 1),
        ("norm", 0, double.PositiveInfinity),
    ];

    private static readonly string[] s_counts = ["step_empty", "norm_steps"];

    // What the file said that this run goes on from.
    private string _integrity = string.Empty;

    // Tells an earlier state of this run from another run, in whose file nothing of this one may go.
    private string _run = Guid.NewGuid().ToString("N");

    /// <summary>
    /// Writes everything that was recorded, as safetensors with metadata. Call it where the training loop saves its checkpoint; a
    /// file of an earlier step of this run is replaced. It is there whole or not at all, whenever the process dies.
    /// </summary>
    /// <param name="path">The file, ending in <c>.safetensors</c>.</param>
    /// <exception cref="InfluenceException">Another ending, a file of another run, or it cannot be written; nothing was
    /// changed.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        Fetch();
        Safetensors.CheckName(path);
        if (File.Exists(path) && Safetensors.LoadMetadata(path).GetValueOrDefault("run") != _run)
        {
            throw new InfluenceException(
                $"{path} holds something else than an earlier state of this run. Write TrainingDynamics.Load(path) to go on with the run "
                    + "in it, choose another name, or delete it."
            );
        }

        using var scope = NewDisposeScope();
        Safetensors.Save(
            path,
            [("ids", tensor(_ids.ToArray())), .. _log.ToTensors(), .. _norms.ToTensors()],
            new Dictionary<string, string>
            {
                ["format"] = Format,
                ["run"] = _run,
                ["classes"] = Classes.ToString(CultureInfo.InvariantCulture),
                ["ignored_label"] = IgnoredLabel.ToString(CultureInfo.InvariantCulture),
                ["correct_share"] = CorrectShare.ToString("R", CultureInfo.InvariantCulture),
                ["fetch_every_steps"] = FetchEverySteps.ToString(CultureInfo.InvariantCulture),
            }
        );
    }

    /// <summary>
    /// Goes on with a run that <see cref="Save"/> wrote: scores and everything recorded from here on are, bit for bit, those of a
    /// run that was never interrupted. Logits of another number of classes are refused.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="stepCount">
    /// <see cref="StepCount"/> as it was at the checkpoint that the training goes on from, where that is older than the file: what was
    /// recorded later is left out, as those steps are done again. Keep the number beside the checkpoint: it counts the calls of
    /// <see cref="Record"/>, which with gradient accumulation are more than the optimizer's steps. Null = all of it.
    /// </param>
    /// <returns>The recorder; the settings are those of the run.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else, or ends before that step.</exception>
    public static TrainingDynamics Load(string path, long? stepCount = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        using var file = SafetensorsFile.Open(path);
        if (file.Metadata.GetValueOrDefault("format") != Format)
        {
            throw new InfluenceException(
                $"{path} was not written by TrainingDynamics.Save; it holds {InfluenceException.List([.. file.Entries.Keys])}."
            );
        }

        var settings = Settings(path, file.Metadata);
        var tensors = file.ReadAll();
        CheckFile(path, tensors);
        var recorded = tensors["step_ends"].numel();
        if (stepCount is < 0 || stepCount > recorded)
        {
            throw new InfluenceException(
                $"{path} holds {recorded} steps, so it cannot go on from step {stepCount}. Save the dynamics at least as late as the "
                    + "checkpoint: dynamics.Save(path) just after it; "
                    + "and give Load the StepCount that they had at the checkpoint, which counts calls of Record."
            );
        }

        var dynamics = new TrainingDynamics
        {
            Classes = settings.Classes,
            IgnoredLabel = settings.IgnoredLabel,
            CorrectShare = settings.CorrectShare,
            FetchEverySteps = settings.FetchEverySteps,
            _run = settings.Run,
            _integrity = file.Integrity,
        };
        dynamics._log.AddFrom(tensors, stepCount ?? recorded);
        dynamics._norms.AddFrom(tensors, stepCount ?? recorded);

        var ids = tensors["ids"].data<long>().ToArray();

        // Numbers are given in the order in which examples first come, so those of the first steps come first.
        var examples = Math.Max(dynamics._log.Appearances.Highest, dynamics._norms.Appearances.Highest) + 1;
        foreach (var id in ids.Take(examples))
        {
            dynamics.NumberOf(id);
        }

        return dynamics._ids.Count == examples ? dynamics : throw Damaged(path, ["\"ids\""]);
    }

    private static (long Classes, long IgnoredLabel, double CorrectShare, int FetchEverySteps, string Run) Settings(
        string path,
        Dictionary<string, string> metadata
    )
    {
        return (
            long.TryParse(Get("classes"), NumberStyles.None, CultureInfo.InvariantCulture, out var classes)
                ? classes
                : throw Bad("classes"),
            long.TryParse(Get("ignored_label"), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var ignored)
                ? ignored
                : throw Bad("ignored_label"),
            double.TryParse(Get("correct_share"), NumberStyles.Float, CultureInfo.InvariantCulture, out var share) && share is > 0 and <= 1
                ? share
                : throw Bad("correct_share"),
            int.TryParse(Get("fetch_every_steps"), NumberStyles.None, CultureInfo.InvariantCulture, out var every) && every > 0
                ? every
                : throw Bad("fetch_every_steps"),
            Get("run") is { Length: > 0 } run ? run : throw Bad("run")
        );

        string? Get(string key) => metadata.GetValueOrDefault(key);

        InfluenceException Bad(string key) =>
            new($"{path} is damaged: its entry \"{key}\" is {(Get(key) is { } text ? $"\"{PlainText.Name(text)}\"" : "missing")}.");
    }

    private static void CheckFile(string path, Dictionary<string, Tensor> tensors)
    {
        var wrong = s_tensors
            .Where(t => !tensors.TryGetValue(t.Name, out var found) || found.dtype != t.Type || found.dim() != 1)
            .Select(t => $"\"{t.Name}\"")
            .ToList();
        (string Name, string Like)[] pairs =
        [
            ("probability", "example"),
            ("margin", "example"),
            ("loss", "example"),
            ("el2n", "example"),
            ("correct", "example"),
            ("step_empty", "step_ends"),
            ("norm", "norm_example"),
            ("norm_steps", "norm_ends"),
        ];
        if (wrong.Count == 0)
        {
            wrong.AddRange(pairs.Where(p => tensors[p.Name].numel() != tensors[p.Like].numel()).Select(p => $"\"{p.Name}\""));
        }

        if (wrong.Count == 0)
        {
            (string Ends, string Entries)[] ends = [("step_ends", "example"), ("norm_ends", "norm_example")];
            wrong.AddRange(ends.Where(p => !EndsWithin(tensors[p.Ends], tensors[p.Entries])).Select(p => $"\"{p.Ends}\""));
            wrong.AddRange(ends.Where(p => tensors[p.Entries].lt(Kept(0)).any().item<bool>()).Select(p => $"\"{p.Entries}\""));

            // An example beyond the ids has none; the room for counts is made by the highest number.
            wrong.AddRange(ends.Where(p => tensors[p.Entries].ge(Kept(tensors["ids"].numel())).any().item<bool>()).Select(_ => "\"ids\""));
            wrong.AddRange(
                tensors["ids"].data<long>().ToArray().GroupBy(id => id).Where(group => group.Skip(1).Any()).Take(1).Select(_ => "\"ids\"")
            );
            wrong.AddRange(s_counts.Where(name => tensors[name].lt(Kept(0)).any().item<bool>()).Select(name => $"\"{name}\""));
            wrong.AddRange(s_ranges.Where(r => !Within(tensors[r.Name], r.Least, r.Most)).Select(r => $"\"{r.Name}\""));
        }

        if (wrong.Count > 0)
        {
            throw Damaged(path, wrong);
        }
    }

    /// <summary>Whether the ends rise to the number of entries.</summary>
    private static bool EndsWithin(Tensor ends, Tensor entries)
    {
        var before = 0L;
        foreach (var end in ends.data<long>().ToArray())
        {
            if (end < before || end > entries.numel())
            {
                return false;
            }

            before = end;
        }

        return before == entries.numel();
    }

    /// <summary>False for NaN too.</summary>
    private static bool Within(Tensor values, double least, double most)
    {
        using var scope = NewDisposeScope();
        return values.ge(Kept(least)).logical_and(values.le(Kept(most))).all().item<bool>();
    }

    private static InfluenceException Damaged(string path, IReadOnlyCollection<string> tensors) =>
        new($"{path} is damaged: {InfluenceException.List(tensors)} is missing, or is not what Save wrote.");
}
