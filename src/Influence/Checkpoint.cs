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

    private Checkpoint(string path, double learningRate, long step)
    {
        FilePath = path;
        LearningRate = learningRate;
        Step = step;
    }

    /// <summary>The file.</summary>
    public string FilePath { get; }

    /// <summary>The learning rate at this step: the weight that <c>TracIn</c> gives the checkpoint.</summary>
    public double LearningRate { get; }

    /// <summary>The optimizer step at which it was taken.</summary>
    public long Step { get; }

    /// <summary>A checkpoint in a safetensors file, of ours or of another tool.</summary>
    /// <param name="path">The file: tensors named as in the model's <c>state_dict()</c>.</param>
    /// <param name="learningRate">The learning rate; unless given, the one that the file's metadata names.</param>
    /// <returns>The checkpoint; only its header was read.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else, or names no learning rate.</exception>
    public static Checkpoint FromFile(string path, double? learningRate = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        var metadata = Safetensors.LoadMetadata(path);
        var rate = learningRate ?? (double.TryParse(metadata.GetValueOrDefault(LearningRateKey), CultureInfo.InvariantCulture, out var found)
            ? found
            : throw new InfluenceException($"{path} names no learning rate. Write Checkpoint.FromFile(path, learningRate: ...)."));
        if (!double.IsFinite(rate))
        {
            throw new InfluenceException($"The learning rate of {path} is {rate}; expected a finite number.");
        }

        return new Checkpoint(path, rate, long.TryParse(metadata.GetValueOrDefault(StepKey), CultureInfo.InvariantCulture, out var step) ? step : 0);
    }

    /// <summary>Writes a model's parameters and buffers; the file is there whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model.</param>
    /// <param name="learningRate">The learning rate in force.</param>
    /// <param name="step">The optimizer step.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">It cannot be written; an older file of that name is untouched.</exception>
    public static Checkpoint Save(string path, nn.Module model, double learningRate, long step = 0)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(model);
        using var scope = NewDisposeScope();
        var tensors = model.state_dict().Select(pair => (pair.Key, pair.Value)).ToList();
        Safetensors.Save(path, tensors, new Dictionary<string, string>
        {
            [LearningRateKey] = learningRate.ToString("R", CultureInfo.InvariantCulture),
            [StepKey] = step.ToString(CultureInfo.InvariantCulture),
        });
        return new Checkpoint(path, learningRate, step);
    }

    /// <summary>Copies the weights into a model, in place: parameters stay the objects that they are.</summary>
    /// <param name="model">A model with the same parameters and buffers.</param>
    /// <exception cref="InfluenceException">Names or shapes differ (which ones); the model is then as before.</exception>
    public void LoadInto(nn.Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        using var scope = NewDisposeScope();
        using var grad = no_grad();
        var saved = Safetensors.Load(FilePath).Tensors;
        var state = model.state_dict();
        var missing = state.Keys.Except(saved.Keys).ToList();
        var foreign = saved.Keys.Except(state.Keys).ToList();
        var shapes = state.Keys.Intersect(saved.Keys)
            .Where(name => !state[name].shape.SequenceEqual(saved[name].shape))
            .Select(name => $"{name} [{string.Join(", ", state[name].shape)}] against [{string.Join(", ", saved[name].shape)}]")
            .ToList();
        var problems = new List<string>();
        AddIfAny(problems, missing, "the checkpoint lacks");
        AddIfAny(problems, foreign, "the model lacks");
        AddIfAny(problems, shapes, "shapes differ (model against checkpoint):");
        if (problems.Count > 0)
        {
            throw new InfluenceException($"The checkpoint {FilePath} does not fit the model: {string.Join("; ", problems)}.");
        }

        foreach (var (name, value) in state)
        {
            value.copy_(saved[name]);
        }
    }

    /// <summary>Step, learning rate and file name.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"step {Step}, learning rate {LearningRate:G6}");

    private static void AddIfAny(List<string> problems, List<string> names, string what)
    {
        if (names.Count > 0)
        {
            problems.Add($"{what} {InfluenceException.List(names)}");
        }
    }
}
