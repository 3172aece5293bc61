using System.Text.Json;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>The optimizer that made a checkpoint: its kind and settings parameter by parameter, and where Adam's moments lie in the
/// file.</summary>
internal sealed class OptimizerRecord
{
    /// <summary>The key of the settings in a file's metadata.</summary>
    public const string Key = "influence.optimizer";

    /// <summary>What the name of a tensor begins with that is a first moment; the parameter's name follows.</summary>
    public const string First = "influence.exp_avg:";

    /// <summary>The same of a second moment.</summary>
    public const string Second = "influence.exp_avg_sq:";

    private const string Maximum = "influence.max_exp_avg_sq:";

    private readonly Dictionary<string, Setting> _byName;

    private OptimizerRecord(Dictionary<string, Setting> byName) => _byName = byName;

    /// <summary>Nothing is known, as of files of other tools and of earlier versions.</summary>
    public static OptimizerRecord Unknown { get; } = new([]);

    /// <summary>Whether the file says which optimizer made it.</summary>
    public bool IsKnown => _byName.Count > 0;

    /// <summary>Whether Adam or AdamW moved any parameter.</summary>
    public bool IsAdam => _byName.Values.Any(s => s.IsAdam);

    /// <summary>Whether weight decay stood beside Adam's step for any parameter.</summary>
    public bool DecaysBeside => _byName.Values.Any(s => s is { IsAdam: true, Decoupled: true, WeightDecay: > 0 });

    /// <summary>Whether a tensor of a file is the optimizer's and not the model's.</summary>
    public static bool IsMoment(string tensor) =>
        tensor.StartsWith(First, StringComparison.Ordinal)
        || tensor.StartsWith(Second, StringComparison.Ordinal)
        || tensor.StartsWith(Maximum, StringComparison.Ordinal);

    /// <summary>"AdamW", "SGD, momentum 0.9", or several joined by "and"; empty where it is not known.</summary>
    public override string ToString() => string.Join(" and ", _byName.Values.Select(s => s.ToString()).Distinct());

    /// <summary>The settings of all parameters that the optimizers held.</summary>
    public IEnumerable<Setting> Settings => _byName.Values;

    /// <summary>A parameter's settings; null where the optimizers did not hold it.</summary>
    public Setting? Of(string parameter) => _byName.GetValueOrDefault(parameter);

    /// <summary>Reads the optimizers' settings, and hands on their moments as tensors of the file, by the parameters' names.</summary>
    public static OptimizerRecord Of(nn.Module model, IReadOnlyList<optim.Optimizer> optimizers, Action<string, Tensor> keep)
    {
        var held = new ParameterTable<(Setting Setting, OptimizerState? State)>();
        foreach (var optimizer in optimizers)
        {
            var states = optimizer is OptimizerHelper helper and (SGD or Adam or AdamW) ? helper.state_dict().State : null;
            var next = 0;
            foreach (var group in optimizer.ParamGroups.OfType<ParamGroup>())
            {
                foreach (var parameter in group.Parameters)
                {
                    var state = states is not null && next < states.Count ? states[next] : null;
                    next++;
                    held.Set(parameter, (Setting.Of(optimizer, group, state), state));
                }
            }
        }

        var found = new Dictionary<string, Setting>();
        foreach (var (name, value) in ParameterRates.Own(model))
        {
            if (!held.TryGet(value, out var own))
            {
                continue;
            }

            found[name] = own.Setting;
            var (first, second, maximum) =
                own.Setting.Step == 0
                    ? default
                    : own.State switch
                    {
                        Adam.State adam => (adam.exp_avg, adam.exp_avg_sq, own.Setting.AmsGrad ? adam.max_exp_avg_sq : null),
                        AdamW.State adamW => (adamW.exp_avg, adamW.exp_avg_sq, own.Setting.AmsGrad ? adamW.max_exp_avg_sq : null),
                        _ => default((Tensor?, Tensor?, Tensor?)),
                    };
            Keep(First, first);
            Keep(Second, second);
            Keep(Maximum, maximum);

            void Keep(string prefix, Tensor? moment)
            {
                if (moment is not null)
                {
                    keep(prefix + name, moment);
                }
            }
        }

        return new OptimizerRecord(found);
    }

    /// <summary>Groups of equal settings as JSON; null where nothing is known.</summary>
    public string? ToJson() =>
        _byName.Count == 0
            ? null
            : JsonSerializer.Serialize(_byName.GroupBy(pair => pair.Value, pair => pair.Key).Select(g => new Group([.. g], g.Key)));

    /// <summary>Reads what <see cref="ToJson"/> wrote; null where it is something else.</summary>
    public static OptimizerRecord? FromJson(string json)
    {
        try
        {
            var groups = JsonSerializer.Deserialize<Group[]>(json);
            return
                groups is null
                || groups.Any(g => g?.Parameters is null || g.Parameters.Contains(null!) || g.Setting is not { IsSound: true })
                ? null
                : new OptimizerRecord(
                    groups.SelectMany(g => g.Parameters.Select(name => (name, g.Setting))).ToDictionary(p => p.name, p => p.Setting)
                );
        }
        catch (Exception exception) when (exception is JsonException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>Moments of a parameter in one row, checked to be as many as it has numbers.</summary>
    /// <param name="moments">What a checkpoint holds.</param>
    /// <param name="path">The checkpoint's path, for the message.</param>
    /// <param name="parameter">The parameter's name.</param>
    /// <param name="count">How many numbers it has.</param>
    public static Tensor Flat(Tensor moments, string path, string parameter, long count) =>
        moments.numel() == count
            ? moments.reshape(-1)
            : throw new InfluenceException(
                $"The checkpoint {path} has moments of {moments.numel()} numbers for {parameter}, which has {count}."
            );

    /// <summary>Reads D = 1 / (sqrt(v / (1 - beta2^t)) + eps) of a parameter, in its shape, on the CPU; the caller owns it.</summary>
    /// <param name="file">The checkpoint's file.</param>
    /// <param name="path">Its path, for messages.</param>
    /// <param name="parameter">A parameter that Adam or AdamW moved.</param>
    /// <exception cref="InfluenceException">The moments are missing, of step 0, or no moments of Adam.</exception>
    public Tensor Scale(SafetensorsTensors file, string path, string parameter)
    {
        using var scope = NewDisposeScope();
        return ScaleOf(SecondMoment(file, path, parameter), path, parameter).MoveToOuterDisposeScope();
    }

    /// <summary>1 / (sqrt(v) + eps) of second moments without bias, in the current scope; they are overwritten.</summary>
    public Tensor ScaleOf(Tensor v, string path, string parameter)
    {
        var eps = _byName[parameter].Eps;
        var scale = v.sqrt_().add_(Kept(eps)).reciprocal_();
        return scale.isfinite().all().item<bool>()
            ? scale
            : throw new InfluenceException(
                $"The checkpoint {path} has a second moment of zero in {PlainText.Name(parameter)} and an eps of {eps}, so the step "
                    + "divides by zero. Write Direction = TracIn.UpdateDirection.Sgd."
            );
    }

    /// <summary>Reads v / (1 - beta2^t) of a parameter (with amsgrad of the largest v), in its shape, on the CPU, in the current
    /// scope.</summary>
    public Tensor SecondMoment(SafetensorsTensors file, string path, string parameter)
    {
        var setting = _byName[parameter];
        return Raw(file, path, parameter).div_(Kept(1 - Math.Pow(setting.Beta2, setting.Step)));
    }

    /// <summary>Reads Adam's first moment and its second one (with amsgrad the largest so far) as they are in its state.</summary>
    public (Tensor First, Tensor Second) Moments(SafetensorsTensors file, string path, string parameter)
    {
        var second = Raw(file, path, parameter);
        var name = First + parameter;
        if (!file.Entries.ContainsKey(name))
        {
            throw new InfluenceException(
                $"The checkpoint {path} has no first moment for the parameter {PlainText.Name(parameter)}, so its direction is not known. "
                    + "Write Direction = TracIn.UpdateDirection.Sgd."
            );
        }

        return (file.Read(name), second);
    }

    private Tensor Raw(SafetensorsTensors file, string path, string parameter)
    {
        var setting = _byName[parameter];
        var name = (setting.AmsGrad ? Maximum : Second) + parameter;
        if (setting.Step == 0 || !file.Entries.ContainsKey(name))
        {
            throw new InfluenceException(
                $"The checkpoint {path} has {(setting.Step == 0 ? "Adam's state of step 0, before its first step," : "no second moment")} "
                    + $"for the parameter {PlainText.Name(parameter)}, "
                    + "so its direction is not known. Save checkpoints after optimizer.step(), or write Direction = "
                    + "TracIn.UpdateDirection.Sgd."
            );
        }

        var v = file.Read(name);
        return v.ge(Kept(0)).logical_and_(v.isfinite()).all().item<bool>()
            ? v
            : throw new InfluenceException(
                $"The checkpoint {path} holds a second moment of {PlainText.Name(parameter)} that is negative or not finite; Adam has none "
                    + "such."
            );
    }

    /// <summary>What an optimizer does with a parameter.</summary>
    /// <param name="Kind">SGD, Adam, AdamW, or the type's name.</param>
    /// <param name="Momentum">SGD's.</param>
    /// <param name="Dampening">SGD's.</param>
    /// <param name="Beta1">Adam's.</param>
    /// <param name="Beta2">Adam's.</param>
    /// <param name="Eps">Adam's, outside of the root.</param>
    /// <param name="WeightDecay">The weight decay.</param>
    /// <param name="Decoupled">Whether the weight decay stays out of the gradient, as AdamW's.</param>
    /// <param name="AmsGrad">Whether Adam divides by the largest second moment so far.</param>
    /// <param name="Maximize">Whether the loss is to rise.</param>
    /// <param name="Step">Adam's steps of this parameter; 0 before the first, and where the state could not be read.</param>
    /// <param name="Nesterov">Whether SGD looks ahead; false in files of earlier versions, which did not say it.</param>
    internal sealed record Setting(
        string Kind,
        double Momentum,
        double Dampening,
        double Beta1,
        double Beta2,
        double Eps,
        double WeightDecay,
        bool Decoupled,
        bool AmsGrad,
        bool Maximize,
        long Step,
        bool Nesterov = false
    )
    {
        public bool IsAdam => Kind is "Adam" or "AdamW";

        public bool IsSgd => Kind == "SGD";

        public bool IsSound =>
            Kind is not null
            && Momentum is >= 0 and < 1
            && double.IsFinite(Dampening)
            && Beta1 is >= 0 and < 1
            && Beta2 is >= 0 and < 1
            && double.IsFinite(Eps)
            && Eps >= 0
            && double.IsFinite(WeightDecay)
            && Step >= 0;

        public static Setting Of(optim.Optimizer optimizer, ParamGroup group, OptimizerState? state) =>
            (group.Options, state) switch
            {
                (SGD.Options s, _) => new(
                    "SGD",
                    s.momentum ?? 0,
                    s.dampening ?? 0,
                    0,
                    0,
                    0,
                    s.weight_decay ?? 0,
                    false,
                    false,
                    s.maximize == true,
                    0,
                    s.nesterov == true
                ),
                (Adam.Options a, _) => new(
                    "Adam",
                    0,
                    0,
                    a.beta1 ?? 0.9,
                    a.beta2 ?? 0.999,
                    a.eps ?? 1e-8,
                    a.weight_decay ?? 0,
                    false,
                    a.amsgrad == true,
                    a.maximize == true,
                    (state as Adam.State)?.step ?? 0
                ),
                (AdamW.Options a, _) => new(
                    "AdamW",
                    0,
                    0,
                    a.beta1 ?? 0.9,
                    a.beta2 ?? 0.999,
                    a.eps ?? 1e-8,
                    a.weight_decay ?? 0,
                    true,
                    a.amsgrad == true,
                    a.maximize == true,
                    (state as AdamW.State)?.step ?? 0
                ),
                _ => new(optimizer.GetType().Name, 0, 0, 0, 0, 0, 0, false, false, false, 0),
            };

        public override string ToString() =>
            FormattableString.Invariant(
                $"{PlainText.Name(Kind)}{(Momentum > 0 ? $", momentum {Momentum}" : string.Empty)}{(AmsGrad ? ", amsgrad" : string.Empty)}"
            ) + (Nesterov ? ", Nesterov" : string.Empty);
    }

    private sealed record Group(string[] Parameters, Setting Setting);
}
