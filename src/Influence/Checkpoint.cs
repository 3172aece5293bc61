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
public sealed class Checkpoint
{
    internal const string LearningRateKey = "influence.learning_rate";
    internal const string StepKey = "influence.step";
    internal const string GroupsKey = "influence.parameter_groups";

    private Checkpoint(string path, ParameterRates rates, long step)
    {
        FilePath = path;
        Rates = rates;
        Step = step;
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

    /// <summary>The optimizer step at which it was taken.</summary>
    public long Step { get; }

    /// <summary>A checkpoint in a safetensors file, of ours or of another tool.</summary>
    /// <param name="path">The file: tensors named as in the model's <c>state_dict()</c>.</param>
    /// <param name="learningRate">The learning rate of every parameter; unless given, those that the file's metadata names.</param>
    /// <returns>The checkpoint; only its header was read.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else, or names no learning rate.</exception>
    public static Checkpoint FromFile(string path, double? learningRate = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        var metadata = Safetensors.LoadMetadata(path);
        var rates = learningRate is { } given ? ParameterRates.Same(given) : Recorded(path, metadata);
        if (rates.Problems().FirstOrDefault() is { } problem)
        {
            throw new InfluenceException($"{path} has the {problem}; learning rates, momenta and weight decays are finite numbers, and not negative by parameter.");
        }

        return new Checkpoint(path, rates, StepIn(metadata));
    }

    /// <summary>A checkpoint of another tool, of a run whose parameter groups had learning rates of their own.</summary>
    /// <param name="path">The file: tensors named as in the model's <c>state_dict()</c>.</param>
    /// <param name="learningRate">From a tensor's name in the file to its learning rate; 0 where it was not trained.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else, or a rate is negative or not finite.</exception>
    public static Checkpoint FromFile(string path, Func<string, double> learningRate)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(learningRate);
        var rates = ParameterRates.ByName(Safetensors.LoadNames(path).Select(name => (name, new ParameterRate(learningRate(name)))));
        return rates.Problems().FirstOrDefault() is { } problem
            ? throw new InfluenceException($"The delegate gives the {problem}; learning rates are finite numbers of at least 0.")
            : new Checkpoint(path, rates, StepIn(Safetensors.LoadMetadata(path)));
    }

    private static long StepIn(Dictionary<string, string> metadata) =>
        long.TryParse(metadata.GetValueOrDefault(StepKey), CultureInfo.InvariantCulture, out var step) ? step : 0;

    private static ParameterRates Recorded(string path, Dictionary<string, string> metadata)
    {
        if (metadata.TryGetValue(GroupsKey, out var groups))
        {
            return ParameterRates.FromJson(groups) ?? throw new InfluenceException(
                $"{path} has parameter groups that cannot be read. Write Checkpoint.FromFile(path, name => ...) with each parameter's learning rate.");
        }

        return double.TryParse(metadata.GetValueOrDefault(LearningRateKey), CultureInfo.InvariantCulture, out var found)
            ? ParameterRates.Same(found)
            : throw new InfluenceException($"{path} names no learning rate. Write Checkpoint.FromFile(path, learningRate: ...).");
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
        return Save(path, model, ParameterRates.Same(learningRate), step);
    }

    /// <summary>
    /// Writes a model's parameters and buffers with each parameter's learning rate, momentum and weight decay; the file is there whole or not at all.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Its optimizer; a parameter that it does not hold, or that is frozen, has the rate 0.</param>
    /// <param name="step">The optimizer step.</param>
    /// <returns>The checkpoint.</returns>
    /// <exception cref="InfluenceException">The optimizer holds none of the model's parameters, a rate is no rate, or it cannot be written; an older file of that name is untouched.</exception>
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
            ? throw new InfluenceException($"The optimizer has the {problem} at step {step}; finite numbers of at least 0, and a momentum below 1, are expected. Has the schedule gone wrong?")
            : Save(path, model, rates, step);
    }

    private static Checkpoint Save(string path, nn.Module model, ParameterRates rates, long step)
    {
        using var scope = NewDisposeScope();
        var tensors = model.state_dict().Select(pair => (pair.Key, pair.Value)).ToList();
        var metadata = new Dictionary<string, string>
        {
            [LearningRateKey] = rates.Largest.ToString("R", CultureInfo.InvariantCulture),
            [StepKey] = step.ToString(CultureInfo.InvariantCulture),
        };
        if (rates.ToJson() is { } groups)
        {
            metadata[GroupsKey] = groups;
        }

        Safetensors.Save(path, tensors, metadata);
        return new Checkpoint(path, rates, step);
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
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"step {Step}, learning rate {(Rates.AreSame ? LearningRate.ToString("G6", CultureInfo.InvariantCulture) : Rates.ToString())}");

    private static void AddIfAny(List<string> problems, List<string> names, string what)
    {
        if (names.Count > 0)
        {
            problems.Add($"{what} {InfluenceException.List(names)}");
        }
    }
}
