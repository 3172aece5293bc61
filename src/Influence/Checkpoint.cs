using System.Globalization;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// A model's weights at one step of training, with the learning rates in force there, one for each parameter where the
/// optimizer's parameter groups differ. On disk it is a safetensors file; the
/// weights are read when they are needed.
/// </summary>
public sealed partial class Checkpoint
{
    internal const string LearningRateKey = "influence.learning_rate";
    internal const string StepKey = "influence.step";
    internal const string GroupsKey = "influence.parameter_groups";

    private readonly Options _matching;

    private Checkpoint(string path, ParameterRates rates, long step, string integrity, OptimizerRecord made, Options? matching = null)
    {
        FilePath = path;
        Rates = rates;
        Step = step;
        Integrity = integrity;
        Made = made;
        _matching = matching ?? new Options();
    }

    /// <summary>The file.</summary>
    public string FilePath { get; }

    /// <summary>
    /// The learning rate at this step: the weight that <c>TracIn</c> gives the checkpoint. Where parameter groups differ, the
    /// largest; <see cref="LearningRateOf"/> tells each parameter's.
    /// </summary>
    public double LearningRate => Rates.Largest;

    /// <summary>
    /// The learning rate of one parameter at this step: that of its parameter group, and 0 where the optimizer did not hold it or it was
    /// frozen. Checkpoints that were saved with one rate have it for every parameter.
    /// </summary>
    /// <param name="parameter">Its name in the model's <c>state_dict()</c>.</param>
    /// <returns>The rate with which <c>TracIn</c> weighs this parameter's gradients.</returns>
    public double LearningRateOf(string parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        return Rates.Of(parameter).LearningRate;
    }

    /// <summary>The rates, momenta and weight decays by parameter, as far as they are known.</summary>
    internal ParameterRates Rates { get; }

    /// <summary>
    /// The optimizer that made it, "AdamW" or "SGD, momentum 0.9" for example; empty where it is not known, as of files of other tools, of
    /// earlier versions, and of those saved with a learning rate alone.
    /// </summary>
    public string Optimizer => Made.ToString();

    /// <summary>The optimizer's settings by parameter, as far as they are known; its moments stay in the file.</summary>
    internal OptimizerRecord Made { get; }

    /// <summary>The optimizer step at which it was taken.</summary>
    public long Step { get; }

    /// <summary>
    /// Empty where the file has a checksum, as those of <see cref="Save(string, nn.Module, double, long)"/> do: it is checked when the
    /// weights are read. Else "unverified: ...", as for files of other tools and of earlier versions.
    /// </summary>
    public string Integrity { get; }

    /// <summary>A checkpoint in a safetensors file, of ours or of another tool.</summary>
    /// <param name="path">
    /// The file: tensors named as in the model's <c>state_dict()</c>. Or the index of a checkpoint in several files, as Hugging Face saves
    /// large models: <c>model.safetensors.index.json</c>, beside the files that it names.
    /// </param>
    /// <param name="learningRate">The learning rate of every parameter; unless given, those that the file's metadata names.</param>
    /// <param name="matching">How its tensors meet the model's, where names differ; null: names and shapes are the same.</param>
    /// <returns>The checkpoint; only its header was read.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, damaged or something else, or names no learning rate that is
    /// finite and not negative.</exception>
    public static Checkpoint FromFile(string path, double? learningRate = null, Options? matching = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var file = SafetensorsTensors.OpenAny(path);
        if (learningRate is { } given && !IsRate(given))
        {
            throw new InfluenceException($"The learning rate of {path} is {Text(given)}; expected a finite number that is not negative.");
        }

        return new Checkpoint(
            path,
            learningRate is { } all ? ParameterRates.Same(all) : Recorded(file, path),
            StepOf(file, path),
            file.Integrity,
            MadeBy(file, path),
            matching
        );
    }

    /// <summary>A checkpoint of another tool, of a run whose parameter groups had learning rates of their own.</summary>
    /// <param name="path">The file: tensors named as in the model's <c>state_dict()</c>.</param>
    /// <param name="learningRate">From a tensor's name in the file to its learning rate; 0 where it was not trained.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, damaged or something else, or a rate is negative or not
    /// finite.</exception>
    public static Checkpoint FromFile(string path, Func<string, double> learningRate)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(learningRate);
        using var file = SafetensorsTensors.OpenAny(path);
        var rates = ParameterRates.ByName(
            CheckpointWeights.OfModel(file).Keys.Select(name => (name, new ParameterRate(learningRate(name))))
        );
        return rates.Problems().FirstOrDefault() is { } problem
            ? throw new InfluenceException($"The delegate gives the {problem}; learning rates are finite numbers of at least 0.")
            : new Checkpoint(path, rates, StepOf(file, path), file.Integrity, MadeBy(file, path));
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
        return Save(path, model, Same(learningRate), [], step);
    }

    /// <summary>
    /// Writes a model's parameters and buffers with each parameter's learning rate, momentum and weight decay, and a checksum; the file is
    /// there whole or not at all. The settings of SGD, Adam and AdamW are kept too, and Adam's and AdamW's moments: the file is then three
    /// times as large as the weights.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Its optimizer; a parameter that it does not hold, or that is frozen, has the rate 0.</param>
    /// <param name="step">The optimizer step.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">The optimizer holds none of the model's parameters, a rate, a step or a weight is no number
    /// that a training can have, or it cannot be written; an older file of that name is untouched.</exception>
    public static Checkpoint Save(string path, nn.Module model, optim.Optimizer optimizer, long step)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        return Save(path, model, [optimizer], step);
    }

    internal static Checkpoint Save(string path, nn.Module model, IReadOnlyList<optim.Optimizer> optimizers, long step)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(model);
        var rates = ParameterRates.Of(model, optimizers);
        return rates.Problems().FirstOrDefault() is { } problem
            ? throw new InfluenceException(
                $"The optimizer has the {problem} at step {step}; finite numbers that are not negative, and a momentum below 1, are "
                    + "expected. Nothing was saved. Has the schedule gone wrong?"
            )
            : Save(path, model, rates, optimizers, step);
    }

    /// <summary>
    /// Writes a model's parameters and buffers to several files with an index, as Hugging Face lays them out:
    /// <c>model-00001-of-00003.safetensors</c> and so on beside <c>model.safetensors.index.json</c>. A weight that the model ties is
    /// written once, by its first name.
    /// </summary>
    /// <param name="path">The index; its name ends in <c>.safetensors.index.json</c>.</param>
    /// <param name="model">The model.</param>
    /// <param name="learningRate">The learning rate in force; finite and not negative.</param>
    /// <param name="step">The optimizer step.</param>
    /// <param name="shardBytes">How many bytes one file holds at most; a tensor that is larger has a file for itself.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">
    /// It cannot be written, the name is another, or a rate, a step, a size or a weight is no number that makes sense. Files of an older
    /// checkpoint of that name may have been replaced by then; the older index refuses them.
    /// </exception>
    public static Checkpoint SaveSharded(string path, nn.Module model, double learningRate, long step = 0, long shardBytes = 5_000_000_000)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(model);
        Check.AtLeastOne(shardBytes, nameof(shardBytes));
        var rates = Same(learningRate);
        CheckToSave(model, step);
        using var scope = NewDisposeScope();
        var state = model.state_dict();
        var again = CheckpointNames.Tied(state).SelectMany(names => names.Skip(1)).ToHashSet();
        SafetensorsShards.Save(
            path,
            [.. state.Where(pair => !again.Contains(pair.Key)).Select(pair => (pair.Key, pair.Value))],
            Metadata(rates, step),
            shardBytes
        );
        return new Checkpoint(path, rates, step, integrity: string.Empty, OptimizerRecord.Unknown);
    }

    private static ParameterRates Same(double learningRate) =>
        IsRate(learningRate)
            ? ParameterRates.Same(learningRate)
            : throw new InfluenceException(
                $"A checkpoint has a learning rate that is finite and not negative; found {Text(learningRate)}. Nothing was saved."
            );

    private static Checkpoint Save(string path, nn.Module model, ParameterRates rates, IReadOnlyList<optim.Optimizer> optimizers, long step)
    {
        CheckToSave(model, step);
        using var scope = NewDisposeScope();
        var tensors = model.state_dict().Select(pair => (pair.Key, pair.Value)).ToList();
        var metadata = Metadata(rates, step);
        if (rates.ToJson() is { } groups)
        {
            metadata[GroupsKey] = groups;
        }

        var made = OptimizerRecord.Of(model, optimizers, (name, moment) => tensors.Add((name, moment)));
        if (made.ToJson() is { } optimizer)
        {
            metadata[OptimizerRecord.Key] = optimizer;
        }

        Safetensors.Save(path, tensors, metadata);
        return new Checkpoint(path, rates, step, integrity: string.Empty, made);
    }

    private static Dictionary<string, string> Metadata(ParameterRates rates, long step) =>
        new() { [LearningRateKey] = Text(rates.Largest), [StepKey] = step.ToString(CultureInfo.InvariantCulture) };

    private static void CheckToSave(nn.Module model, long step)
    {
        if (step < 0)
        {
            throw new InfluenceException($"A checkpoint has a step that is not negative; found {step}. Nothing was saved.");
        }

        if (CheckpointWeights.NotFinite(model) is { Count: > 0 } bad)
        {
            throw new InfluenceException(
                $"At step {step} the model holds NaN or infinity, in {InfluenceException.List(bad)}. Nothing was saved: the training has "
                    + "diverged, lower its learning rate or clip its gradients."
            );
        }
    }

    /// <summary>Copies the weights into a model, in place: parameters stay the objects that they are.</summary>
    /// <param name="model">A model with the same parameters and buffers, as far as <see cref="Options"/> asks for that.</param>
    /// <returns>What was done beyond taking each tensor by its name: one line each.</returns>
    /// <exception cref="InfluenceException">
    /// Names, shapes or kinds of numbers differ (which ones), a weight is not finite, or two copies of a tied weight differ; the model is
    /// then as before.
    /// </exception>
    public IReadOnlyList<string> LoadInto(nn.Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return CheckpointWeights.Copy(FilePath, model, _matching);
    }

    /// <summary>The name of a tensor in which a model differs from the file; null where it has these weights.</summary>
    internal string? DiffersFrom(nn.Module model) => CheckpointWeights.FirstDifference(FilePath, model, _matching);

    /// <summary>Step, learning rate and file name.</summary>
    /// <returns>One line.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"step {Step}, learning rate "
                + $"{(Rates.AreSame ? LearningRate.ToString("G6", CultureInfo.InvariantCulture) : Rates.ToString())}"
        );

    /// <summary>Empty where every one of them is checked; else what is said of the first that is not.</summary>
    internal static string IntegrityOf(IEnumerable<Checkpoint> checkpoints) =>
        checkpoints.Select(c => c.Integrity).FirstOrDefault(text => text.Length > 0, string.Empty);

    private static long StepOf(SafetensorsTensors file, string path)
    {
        var number = file.Metadata.GetValueOrDefault(StepKey) ?? "0";
        return long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var step)
            ? step
            : throw new InfluenceException(
                $"{path} names the step \"{PlainText.Name(number)}\"; expected a whole number that is not negative."
            );
    }

    private static OptimizerRecord MadeBy(SafetensorsTensors file, string path) =>
        file.Metadata.GetValueOrDefault(OptimizerRecord.Key) is not { } text
            ? OptimizerRecord.Unknown
            : OptimizerRecord.FromJson(text)
                ?? throw new InfluenceException($"{path} has settings of an optimizer that cannot be read. Save the checkpoint again.");

    private static ParameterRates Recorded(SafetensorsTensors file, string path)
    {
        if (file.Metadata.GetValueOrDefault(GroupsKey) is { } groups)
        {
            return ParameterRates.FromJson(groups) is { } rates && !rates.Problems().Any()
                ? rates
                : throw new InfluenceException(
                    $"{path} has parameter groups that cannot be read, or whose rates are no finite numbers of at least 0. "
                        + "Write Checkpoint.FromFile(path, name => ...) with each parameter's learning rate."
                );
        }

        var text =
            file.Metadata.GetValueOrDefault(LearningRateKey)
            ?? throw new InfluenceException($"{path} names no learning rate. Write Checkpoint.FromFile(path, learningRate: ...).");
        return !double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var rate)
                ? throw new InfluenceException(
                    $"{path} names the learning rate \"{PlainText.Name(text)}\", which is no number. Write "
                        + $"Checkpoint.FromFile(path, learningRate: ...)."
                )
            : IsRate(rate) ? ParameterRates.Same(rate)
            : throw new InfluenceException($"The learning rate of {path} is {Text(rate)}; expected a finite number that is not negative.");
    }

    private static bool IsRate(double rate) => double.IsFinite(rate) && rate >= 0;

    private static string Text(double rate) => rate.ToString("R", CultureInfo.InvariantCulture);
}
