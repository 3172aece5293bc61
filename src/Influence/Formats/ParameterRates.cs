using System.Globalization;
using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>What an optimizer does with one parameter, as far as influence reads it.</summary>
/// <param name="LearningRate">The rate of its parameter group; 0 where no optimizer holds it or it was frozen.</param>
/// <param name="Momentum">SGD's momentum; 0 for other optimizers.</param>
/// <param name="Dampening">SGD's dampening of the momentum.</param>
/// <param name="WeightDecay">The weight decay of SGD, Adam and AdamW.</param>
internal readonly record struct ParameterRate(double LearningRate, double Momentum = 0, double Dampening = 0, double WeightDecay = 0)
{
    /// <summary>What a gradient moves in all, by way of the momentum: eta (1 - dampening)(1 + beta + beta^2 + ...).</summary>
    public double InTheLongRun => LearningRate * (1 - Dampening) / (1 - Momentum);
}

/// <summary>A rate for every parameter by its name: one for all, or those of the optimizer's parameter groups. Immutable.</summary>
internal sealed class ParameterRates
{
    private readonly Dictionary<string, ParameterRate>? _byName;
    private readonly ParameterRate _all;

    private ParameterRates(ParameterRate all, Dictionary<string, ParameterRate>? byName) => (_all, _byName) = (all, byName);

    /// <summary>The same for every parameter.</summary>
    public static ParameterRates Same(double learningRate) => new(new ParameterRate(learningRate), null);

    /// <summary>Rates by name; a parameter that is not among them is not trained.</summary>
    public static ParameterRates ByName(IEnumerable<(string Name, ParameterRate Rate)> rates) =>
        new(default, rates.ToDictionary(r => r.Name, r => r.Rate));

    /// <summary>The rates of a model's parameters in the groups of its optimizers.</summary>
    /// <exception cref="InfluenceException">The optimizers hold none of the model's parameters.</exception>
    public static ParameterRates Of(nn.Module model, IReadOnlyList<optim.Optimizer> optimizers)
    {
        var groups = optimizers.SelectMany(o => o.ParamGroups).ToList();
        if (optimizers.Count == 1 && groups.Exists(g => g is not ParamGroup))
        {
            // An optimizer of the user's own, with groups that do not say what they hold.
            return Same(groups[0].LearningRate);
        }

        using var scope = NewDisposeScope();
        var held = new ParameterTable<ParameterRate>();
        foreach (var group in groups.OfType<ParamGroup>())
        {
            foreach (var parameter in group.Parameters)
            {
                held.Set(parameter, Of(group));
            }
        }

        var own = Own(model).Select(p => (p.Name, p.Value.requires_grad, Held: held.TryGet(p.Value, out var rate), Rate: rate)).ToList();
        if (!own.Exists(p => p.Held))
        {
            throw new InfluenceException(
                "The optimizer holds none of the model's parameters. Make it of model.parameters(), after the model was moved to its "
                    + "device."
            );
        }

        // What is frozen does not move, whatever its group says; where all is frozen, that is for the saving and not for the training.
        var anyTrained = own.Exists(p => p.requires_grad && p.Held);
        return ByName(own.Select(p => (p.Name, p.Held && (p.requires_grad || !anyTrained) ? p.Rate : default)));
    }

    /// <summary>A model's parameters by their names in its <c>state_dict()</c>; a tied one under each of its names.</summary>
    public static IEnumerable<(string Name, Parameter Value)> Own(nn.Module model) =>
        model
            .named_modules()
            .Prepend((name: string.Empty, module: model))
            .SelectMany(m =>
                m.module.named_parameters(recurse: false)
                    .Select(p => (Name: m.name.Length == 0 ? p.name : $"{m.name}.{p.name}", Value: p.parameter))
            )
            .DistinctBy(p => p.Name)
            .Where(p => p.Value is not null);

    /// <summary>The largest learning rate.</summary>
    public double Largest => _byName is null ? _all.LearningRate : _byName.Values.Select(r => r.LearningRate).DefaultIfEmpty().Max();

    /// <summary>The smallest learning rate of a parameter that is trained at all; 0 where none is.</summary>
    public double Smallest =>
        _byName is null ? _all.LearningRate : _byName.Values.Select(r => r.LearningRate).Where(r => r > 0).DefaultIfEmpty().Min();

    /// <summary>Whether parameters have rates of their own, known by name.</summary>
    public bool AreByName => _byName is not null;

    /// <summary>Whether every parameter has the same learning rate.</summary>
    public bool AreSame => _byName is null || _byName.Values.All(r => r.LearningRate == Largest);

    /// <summary>A parameter's rate.</summary>
    /// <param name="name">As in the model's <c>state_dict()</c>.</param>
    public ParameterRate Of(string name) => _byName is null ? _all : _byName.GetValueOrDefault(name);

    /// <summary>Rates that are no rates: NaN, infinite or negative.</summary>
    public IEnumerable<string> Problems() =>
        (_byName?.Values ?? Enumerable.Repeat(_all, 1))
            .SelectMany(r =>
                new[]
                {
                    ("learning rate", r.LearningRate),
                    ("momentum", r.Momentum),
                    ("weight decay", r.WeightDecay),
                    ("dampening", r.Dampening),
                }
            )
            .Where(r => !double.IsFinite(r.Item2) || (r.Item2 < 0 && _byName is not null) || (r.Item1 == "momentum" && r.Item2 >= 1))
            .Select(r => string.Create(CultureInfo.InvariantCulture, $"{r.Item1} {r.Item2:R}"))
            .Distinct();

    /// <summary>"0.1", or "0.001 to 0.1 by parameter".</summary>
    public override string ToString() =>
        AreSame
            ? Largest.ToString("R", CultureInfo.InvariantCulture)
            : string.Create(CultureInfo.InvariantCulture, $"{Smallest:R} to {Largest:R} by parameter");

    /// <summary>Groups of equal settings as JSON; null where there are none by name.</summary>
    public string? ToJson() =>
        _byName is null
            ? null
            : JsonSerializer.Serialize(
                _byName
                    .GroupBy(pair => pair.Value, pair => pair.Key)
                    .Select(g => new Group([.. g], g.Key.LearningRate, g.Key.Momentum, g.Key.Dampening, g.Key.WeightDecay))
            );

    /// <summary>Reads what <see cref="ToJson"/> wrote; null where it is something else.</summary>
    public static ParameterRates? FromJson(string json)
    {
        try
        {
            var groups = JsonSerializer.Deserialize<Group[]>(json);
            return groups is null || groups.Any(g => g?.Parameters is null || g.Parameters.Contains(null!))
                ? null
                : ByName(
                    groups.SelectMany(g =>
                        g.Parameters.Select(name => (name, new ParameterRate(g.LearningRate, g.Momentum, g.Dampening, g.WeightDecay)))
                    )
                );
        }
        catch (Exception exception) when (exception is JsonException or ArgumentException)
        {
            return null;
        }
    }

    private static ParameterRate Of(ParamGroup group) =>
        group.Options switch
        {
            SGD.Options sgd => new(group.LearningRate, sgd.momentum ?? 0, sgd.dampening ?? 0, sgd.weight_decay ?? 0),
            Adam.Options adam => new(group.LearningRate, WeightDecay: adam.weight_decay ?? 0),
            AdamW.Options adamW => new(group.LearningRate, WeightDecay: adamW.weight_decay ?? 0),
            _ => new(group.LearningRate),
        };

    private sealed record Group(string[] Parameters, double LearningRate, double Momentum, double Dampening, double WeightDecay);
}
