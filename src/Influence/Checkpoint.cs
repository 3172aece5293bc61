using System.Globalization;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// A model's weights at one step of training, with the learning rate in force there. On disk it is a safetensors file; the
/// weights are read when they are needed.
/// </summary>
public sealed class Checkpoint
{
    internal const string LearningRateKey = "influence.learning_rate";
    internal const string StepKey = "influence.step";

    private readonly CheckpointMatching _matching;

    private Checkpoint(string path, double learningRate, long step, string integrity, CheckpointMatching? matching = null)
    {
        FilePath = path;
        LearningRate = learningRate;
        Step = step;
        Integrity = integrity;
        _matching = matching ?? new CheckpointMatching();
    }

    /// <summary>The file.</summary>
    public string FilePath { get; }

    /// <summary>The learning rate at this step: the weight that <c>TracIn</c> gives the checkpoint.</summary>
    public double LearningRate { get; }

    /// <summary>The optimizer step at which it was taken.</summary>
    public long Step { get; }

    /// <summary>
    /// Empty where the file has a checksum, as those of <see cref="Save"/> do: it is checked when the weights are read. Else "unverified: ...", as for
    /// files of other tools and of earlier versions.
    /// </summary>
    public string Integrity { get; }

    /// <summary>A checkpoint in a safetensors file, of ours or of another tool.</summary>
    /// <param name="path">The file: tensors named as in the model's <c>state_dict()</c>.</param>
    /// <param name="learningRate">The learning rate; unless given, the one that the file's metadata names.</param>
    /// <param name="matching">How its tensors meet the model's, where names differ; null: names and shapes are the same.</param>
    /// <returns>The checkpoint; only its header was read.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, damaged or something else, or names no learning rate that is finite and not negative.</exception>
    public static Checkpoint FromFile(string path, double? learningRate = null, CheckpointMatching? matching = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var file = SafetensorsFile.Open(path);
        var text = file.Metadata.GetValueOrDefault(LearningRateKey);
        var rate = learningRate
            ?? (text is null ? throw new InfluenceException($"{path} names no learning rate. Write Checkpoint.FromFile(path, learningRate: ...).")
            : double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var found) ? found
            : throw new InfluenceException($"{path} names the learning rate \"{PlainText.Name(text)}\", which is no number. Write Checkpoint.FromFile(path, learningRate: ...)."));
        var number = file.Metadata.GetValueOrDefault(StepKey) ?? "0";
        return !IsRate(rate) ? throw new InfluenceException($"The learning rate of {path} is {Text(rate)}; expected a finite number that is not negative.")
            : long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? new Checkpoint(path, rate, step, file.Integrity, matching)
            : throw new InfluenceException($"{path} names the step \"{PlainText.Name(number)}\"; expected a whole number that is not negative.");
    }

    /// <summary>Writes a model's parameters and buffers, with a checksum; the file is there whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model.</param>
    /// <param name="learningRate">The learning rate in force; finite and not negative.</param>
    /// <param name="step">The optimizer step.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">
    /// It cannot be written; or a rate, a step or a weight is no number that a training can have. An older file of that name is untouched.
    /// </exception>
    public static Checkpoint Save(string path, nn.Module model, double learningRate, long step = 0)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(model);
        if (!IsRate(learningRate) || step < 0)
        {
            throw new InfluenceException(
                $"A checkpoint has a learning rate that is finite and not negative, and a step that is not negative; found {Text(learningRate)} and {step}. Nothing was saved.");
        }

        if (CheckpointWeights.NotFinite(model) is { Count: > 0 } bad)
        {
            throw new InfluenceException(
                $"At step {step} the model holds NaN or infinity, in {InfluenceException.List(bad)}. Nothing was saved: the training has diverged, lower its learning rate or clip its gradients.");
        }

        using var scope = NewDisposeScope();
        var tensors = model.state_dict().Select(pair => (pair.Key, pair.Value)).ToList();
        Safetensors.Save(path, tensors, new Dictionary<string, string>
        {
            [LearningRateKey] = Text(learningRate),
            [StepKey] = step.ToString(CultureInfo.InvariantCulture),
        });
        return new Checkpoint(path, learningRate, step, integrity: string.Empty);
    }

    /// <summary>Copies the weights into a model, in place: parameters stay the objects that they are.</summary>
    /// <param name="model">A model with the same parameters and buffers, as far as <see cref="CheckpointMatching"/> asks for that.</param>
    /// <returns>What was done beyond taking each tensor by its name: one line each.</returns>
    /// <exception cref="InfluenceException">
    /// Names, shapes or kinds of numbers differ (which ones), a weight is not finite, or two copies of a tied weight differ; the model is then as before.
    /// </exception>
    public IReadOnlyList<string> LoadInto(nn.Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return CheckpointWeights.Copy(FilePath, model, _matching);
    }

    /// <summary>Step, learning rate and file name.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"step {Step}, learning rate {LearningRate:G6}");

    /// <summary>Empty where every one of them is checked; else what is said of the first that is not.</summary>
    internal static string IntegrityOf(IEnumerable<Checkpoint> checkpoints) => checkpoints.Select(c => c.Integrity).FirstOrDefault(text => text.Length > 0, string.Empty);

    private static bool IsRate(double rate) => double.IsFinite(rate) && rate >= 0;

    private static string Text(double rate) => rate.ToString("R", CultureInfo.InvariantCulture);
}
