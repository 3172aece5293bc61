using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// What an optimizer's weight decay adds to the curvature of each weight: the decay itself where it passes through the gradient (SGD's and
/// Adam's L2), and decay (sqrt(v) + eps) where it stands beside Adam's step (AdamW). And what the length of its run adds, 1/tau or
/// (sqrt(v) + eps)/tau, where a run is given.
/// </summary>
/// <param name="Checkpoint">A checkpoint that holds its optimizer's state.</param>
internal sealed record OptimizerDecay(Checkpoint Checkpoint)
{
    /// <summary>The run whose length damps too, in the order of its steps; empty: the decay alone.</summary>
    public IReadOnlyList<Checkpoint> Run { get; init; } = [];

    /// <summary>What a user wrote to get it.</summary>
    public string Maker => Run.Count > 0 ? nameof(Damping.OfRun) : nameof(Damping.OfOptimizer);

    /// <summary>One number for a block: the decay's mean over its weights, and what a run's length is for gradients like its own.</summary>
    public double Mean(IReadOnlyList<ParameterPart> parts)
    {
        using var scope = NewDisposeScope();
        var decay = parts.Sum(part => DecayOf(part).sum().item<double>()) / parts.Sum(part => (double)part.Count);
        if (Run.Count == 0)
        {
            return decay;
        }

        // Moved[w] = v / damping[w] is how far a gradient of v's size lowers the loss.
        var (gradients, moved, widest) = (0.0, 0.0, 0.0);
        foreach (var part in parts)
        {
            var (length, squares) = (LengthOf(part), Squares(part));
            gradients += squares.sum().item<double>();
            moved += (squares / length).sum().item<double>();
            widest = Math.Max(widest, length.max().item<double>());
        }

        return decay + (moved > 0 ? gradients / moved : widest);
    }

    /// <summary>Of each weight of a part, float64 <c>[Count]</c> on the CPU, in the current scope.</summary>
    /// <exception cref="InfluenceException">The file does not say how the parameter was moved, or lacks its moments.</exception>
    public Tensor Of(ParameterPart part) => Run.Count == 0 ? DecayOf(part) : DecayOf(part).add_(LengthOf(part));

    /// <summary>1/tau of each weight, times sqrt(v) + eps where Adam divides by it.</summary>
    private Tensor LengthOf(ParameterPart part)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var name = part.Parameter.Name;
        var made = Checkpoint.Made.Of(name);
        var (time, step, last) = (0.0, 0L, double.NaN);
        foreach (var checkpoint in Run)
        {
            var recorded = checkpoint.Rates.Of(name);
            var rate = made is { IsAdam: true } ? recorded.LearningRate : recorded.InTheLongRun;
            time += (double.IsNaN(last) ? rate : (last + rate) / 2) * (checkpoint.Step - step);
            (last, step) = (rate, checkpoint.Step);
        }

        if (!(time > 0) || made is not ({ IsAdam: true } or { IsSgd: true }))
        {
            throw new InfluenceException(
                made is null || time <= 0
                    ? $"The run of {Run.Count} checkpoints up to {Checkpoint.FilePath} did not train the parameter {name}, so its length "
                        + "says nothing of it. Leave it out by Layers = LayerSelection.Where(...), or write Damping.Absolute(...)."
                    : $"The checkpoint {Checkpoint.FilePath} was made by {made}; the steps of SGD, Adam and AdamW are known. Write "
                        + "Damping.Absolute(...) or RelativeToMeanEigenvalue(...)."
            );
        }

        return (
            made.IsAdam
                ? part.Of(SecondMoment(part)).sqrt().add_(Kept(made.Eps)).div_(Kept(time))
                : full([part.Count], Kept(1 / time), ScalarType.Float64)
        ).MoveToOuterDisposeScope();
    }

    /// <summary>How large squared gradients are, weight by weight, as far as it is known.</summary>
    private Tensor Squares(ParameterPart part)
    {
        using var scope = NewDisposeScope();
        return (
            Checkpoint.Made.Of(part.Parameter.Name) is { IsAdam: true }
                ? part.Of(SecondMoment(part)).clone()
                : ones([part.Count], ScalarType.Float64)
        ).MoveToOuterDisposeScope();
    }

    private Tensor SecondMoment(ParameterPart part)
    {
        using var scope = NewDisposeScope();
        var (name, path) = (part.Parameter.Name, Checkpoint.FilePath);
        using var file = SafetensorsTensors.OpenAny(path);
        return OptimizerRecord
            .Flat(Checkpoint.Made.SecondMoment(file, path, name).to(ScalarType.Float64), path, name, part.Parameter.Count)
            .MoveToOuterDisposeScope();
    }

    private Tensor DecayOf(ParameterPart part)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (name, path) = (part.Parameter.Name, Checkpoint.FilePath);
        using var file = SafetensorsTensors.OpenAny(path);

        // A schedule may end at 0: a weight that moved at any step of the run had its decay.
        var trained = Run.Append(Checkpoint).Any(checkpoint => checkpoint.Rates.Of(name).LearningRate > 0);
        switch (Checkpoint.Made.Of(name))
        {
            case null when Checkpoint.Rates.AreByName && file.Entries.ContainsKey(name) && !trained:
            case { WeightDecay: 0, IsAdam: true } or { WeightDecay: 0, IsSgd: true }:
            case { } when !trained:
                return zeros([part.Count], ScalarType.Float64).MoveToOuterDisposeScope();
            case { Decoupled: false, IsAdam: true } or { Decoupled: false, IsSgd: true }:
                return full([part.Count], Kept(Checkpoint.Made.Of(name)!.WeightDecay), ScalarType.Float64).MoveToOuterDisposeScope();
            case { IsAdam: true } adam:
                return part.Of(SecondMoment(part)).sqrt().add_(Kept(adam.Eps)).mul_(Kept(adam.WeightDecay)).MoveToOuterDisposeScope();
            case { } other:
                throw new InfluenceException(
                    $"The checkpoint {path} was made by {other}; the weight decays of SGD, Adam and AdamW are known. Write "
                        + "Damping.Absolute(...) or RelativeToMeanEigenvalue(...)."
                );
            default:
                throw new InfluenceException(
                    $"The checkpoint {path} does not say how its optimizer moved the parameter {name}. Names must be those under which it "
                        + "was saved; else write Damping.Absolute(...)."
                );
        }
    }

    /// <summary>"weight decay of AdamW, step 300", or "a run of AdamW, 300 steps".</summary>
    public override string ToString() =>
        Run.Count > 0
            ? FormattableString.Invariant($"a run of {Checkpoint.Optimizer}, {Checkpoint.Step} steps")
            : FormattableString.Invariant($"weight decay of {Checkpoint.Optimizer}, step {Checkpoint.Step}");
}
