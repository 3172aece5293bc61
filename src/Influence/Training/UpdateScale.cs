using Influence.Formats;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// What an optimizer's next step makes of a gradient, linearised: the weights move by -eta D^-1 g, with a rate and a diagonal D for
/// each parameter.
/// </summary>
internal sealed class UpdateScale
{
    private readonly Dictionary<string, (double Rate, Func<Tensor>? Divisor)> _scales;

    private UpdateScale(Dictionary<string, (double, Func<Tensor>?)> scales, double? rate) => (_scales, Uniform) = (scales, rate);

    /// <summary>The rate where it is one for all parameters and nothing is divided by; else null.</summary>
    public double? Uniform { get; }

    /// <summary>The same rate for every parameter.</summary>
    public static UpdateScale Of(double rate) =>
        double.IsFinite(rate) && rate >= 0
            ? new UpdateScale([], rate)
            : throw new InfluenceException($"The learning rate is {rate}; a finite number of at least 0 is expected.");

    /// <summary>
    /// Reads an optimizer's settings and state as they are before its step. Its state is read when it is applied, so that one
    /// parameter's divisor at a time takes memory: apply it before the step too.
    /// </summary>
    public static UpdateScale Of(optim.Optimizer optimizer, TrainingSession session)
    {
        if (optimizer is not OptimizerHelper { } helper || helper is not (SGD or Adam or AdamW))
        {
            throw new InfluenceException(
                $"In-run values know the updates of SGD, Adam and AdamW, not of {optimizer.GetType().Name}. Write values.Add(step, "
                    + "learningRate) to take its step as that of SGD."
            );
        }

        using var span = Spans.Of("rates of the optimizer");
        var held = new ParameterTable<(double Rate, Func<Tensor>? Divisor)>();
        var states = helper.state_dict().State;
        var next = 0;
        foreach (var group in optimizer.ParamGroups.Cast<ParamGroup>())
        {
            foreach (var parameter in group.Parameters)
            {
                held.Set(parameter, ScaleOf(parameter, group, states[next++]));
            }
        }

        // By name: two parameters over one memory have two rates and two moments, and TorchSharp makes new objects of one parameter.
        var own = session.Blocks.SelectMany(block => block.Parts).Select(part => part.Parameter).DistinctBy(p => p.Name).ToList();
        var scales = new Dictionary<string, (double Rate, Func<Tensor>? Divisor)>();
        foreach (var parameter in own)
        {
            if (held.TryGet(parameter.Value, out var scale))
            {
                scales[parameter.Name] = scale;
            }
        }

        if (scales.Count == 0)
        {
            throw new InfluenceException(
                "The optimizer holds none of the model's parameters. Make it of model.parameters(), after the model was moved to its "
                    + "device."
            );
        }

        // One rate for all, as is usual, needs no gradient written out.
        var rates = own.Select(p => scales.GetValueOrDefault(p.Name)).Distinct().ToList();
        return new UpdateScale(scales, rates is [{ Item2: null } only] ? only.Item1 : null);
    }

    /// <summary>eta D^-1 v, <c>[P_k]</c>, in the current scope; zero for parameters that the optimizer does not hold.</summary>
    public Tensor Apply(ParameterPart part, Tensor v)
    {
        var (rate, divisor) = Uniform is { } uniform ? (uniform, (Func<Tensor>?)null) : _scales.GetValueOrDefault(part.Parameter.Name);
        if (divisor is null)
        {
            return v * Kept(rate);
        }

        using var by = divisor(); // [P_k]
        return (v / by).mul_(Kept(rate));
    }

    private static (double Rate, Func<Tensor>? Divisor) ScaleOf(Parameter parameter, ParamGroup group, OptimizerState state)
    {
        switch (group.Options, state)
        {
            case (SGD.Options sgd, _):
                RefuseMaximize(sgd.maximize);

                // Momentum carries a gradient through later steps.
                return (new ParameterRate(group.LearningRate, sgd.momentum ?? 0, sgd.dampening ?? 0).InTheLongRun, null);
            case (Adam.Options adam, Adam.State s):
                RefuseMaximize(adam.maximize);
                return (
                    group.LearningRate,
                    () =>
                        Divisor(
                            parameter,
                            s.step,
                            s.exp_avg_sq,
                            adam.amsgrad == true ? s.max_exp_avg_sq : null,
                            adam.beta2!.Value,
                            adam.eps!.Value,
                            adam.weight_decay ?? 0
                        )
                );
            case (AdamW.Options adamW, AdamW.State s):
                RefuseMaximize(adamW.maximize);
                return (
                    group.LearningRate,
                    () =>
                        Divisor(
                            parameter,
                            s.step,
                            s.exp_avg_sq,
                            adamW.amsgrad == true ? s.max_exp_avg_sq : null,
                            adamW.beta2!.Value,
                            adamW.eps!.Value,
                            0
                        )
                );
            default:
                throw new InfluenceException(
                    $"A parameter group has {group.Options?.GetType().FullName ?? "no options"} and "
                        + $"{state.GetType().FullName}, which do not belong together."
                );
        }
    }

    /// <summary>
    /// What the step to come divides by, <c>[P]</c> in the current scope: sqrt(v' / (1 - beta2^(t+1))) + eps with
    /// v' = beta2 v + (1 - beta2) grad^2. The v before it would divide by eps alone where a weight never had a gradient yet.
    /// </summary>
    private static Tensor Divisor(
        Parameter parameter,
        long step,
        Tensor square,
        Tensor? maximum,
        double beta2,
        double eps,
        double weightDecay
    )
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        if (parameter.grad is not { } gradient)
        {
            // The optimizer leaves out a parameter without a gradient.
            return full([parameter.numel()], Kept(double.PositiveInfinity), parameter.dtype, parameter.device).MoveToOuterDisposeScope();
        }

        var decayed = weightDecay == 0 ? gradient : gradient + (parameter * Kept(weightDecay));
        var next = decayed.Squared().mul_(Kept(1 - beta2)).reshape(-1); // [P]
        if (step > 0)
        {
            next.add_(square.reshape(-1), alpha: Kept(beta2));
            next = maximum is null ? next : next.maximum(maximum.reshape(-1));
        }

        return next.div_(Kept(1 - Math.Pow(beta2, step + 1))).sqrt_().add_(Kept(eps)).MoveToOuterDisposeScope();
    }

    private static void RefuseMaximize(bool? maximize)
    {
        if (maximize == true)
        {
            throw new InfluenceException(
                "The optimizer maximizes; in-run values follow a loss that falls. Negate the loss and leave maximize out."
            );
        }
    }
}
