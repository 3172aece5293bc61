using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// What an optimizer's weight decay adds to the curvature of each weight: the decay itself where it passes through the gradient (SGD's and
/// Adam's L2), and decay (sqrt(v) + eps) where it stands beside Adam's step (AdamW).
/// </summary>
/// <param name="Checkpoint">A checkpoint that holds its optimizer's state.</param>
internal sealed record OptimizerDecay(Checkpoint Checkpoint)
{
    /// <summary>The mean over a block's weights.</summary>
    public double Mean(IReadOnlyList<ParameterPart> parts)
    {
        using var scope = NewDisposeScope();
        return parts.Sum(part => Of(part).sum().item<double>()) / parts.Sum(part => (double)part.Count);
    }

    /// <summary>Of each weight of a part, float64 <c>[Count]</c> on the CPU, in the current scope.</summary>
    /// <exception cref="InfluenceException">The file does not say how the parameter was moved, or lacks its moments.</exception>
    public Tensor Of(ParameterPart part)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (name, path) = (part.Parameter.Name, Checkpoint.FilePath);
        using var file = SafetensorsTensors.OpenAny(path);
        var trained = Checkpoint.Rates.Of(name).LearningRate > 0;
        switch (Checkpoint.Made.Of(name))
        {
            case null when Checkpoint.Rates.AreByName && file.Entries.ContainsKey(name) && !trained:
            case { WeightDecay: 0, IsAdam: true } or { WeightDecay: 0, IsSgd: true }:
            case { } when !trained:
                return zeros([part.Count], ScalarType.Float64).MoveToOuterDisposeScope();
            case { Decoupled: false, IsAdam: true } or { Decoupled: false, IsSgd: true }:
                return full([part.Count], Kept(Checkpoint.Made.Of(name)!.WeightDecay), ScalarType.Float64).MoveToOuterDisposeScope();
            case { IsAdam: true } adam:
                var v = OptimizerRecord.Flat(
                    Checkpoint.Made.SecondMoment(file, path, name).to(ScalarType.Float64),
                    path,
                    name,
                    part.Parameter.Count
                );
                return part.Of(v).sqrt().add_(Kept(adam.Eps)).mul_(Kept(adam.WeightDecay)).MoveToOuterDisposeScope();
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

    /// <summary>"weight decay of AdamW, step 300".</summary>
    public override string ToString() => FormattableString.Invariant($"weight decay of {Checkpoint.Optimizer}, step {Checkpoint.Step}");
}
