using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// The inner product in which an optimizer's steps move the measurement: q' diag(eta D) z, with D of the checkpoint's second moments
/// for Adam and AdamW and what momentum makes of the rate for SGD. Owns its tensors.
/// </summary>
internal sealed class OptimizerMetric : GradientMetric
{
    private readonly Tensor[][] _weights; // [P_k] or [1] a part of a block

    private OptimizerMetric(Tensor[][] weights) => _weights = weights;

    /// <summary>Reads a checkpoint's moments, in the order of the session's blocks.</summary>
    /// <exception cref="InfluenceException">A parameter's direction is not known.</exception>
    public static OptimizerMetric Of(GradientSession session, Checkpoint checkpoint)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var file = SafetensorsTensors.OpenAny(checkpoint.FilePath);
        var weights = session
            .Parts.Select(block => block.Select(part => Weight(part).to(session.Dtype, session.Device)).ToArray())
            .ToArray();
        foreach (var weight in weights.SelectMany(w => w))
        {
            weight.DetachFromDisposeScope();
        }

        return new OptimizerMetric(weights);

        Tensor Weight(ParameterPart part)
        {
            var name = part.Parameter.Name;
            var rate = checkpoint.Rates.Of(name).LearningRate;
            return checkpoint.Made.Of(name) switch
            {
                null when rate == 0 && checkpoint.Rates.AreByName && checkpoint.LearningRate > 0 && file.Entries.ContainsKey(name) => zeros(
                    [1],
                    session.Dtype
                ),
                { } when rate == 0 => zeros([1], session.Dtype),
                { Maximize: true } => throw new InfluenceException(
                    $"The optimizer of {checkpoint.FilePath} maximizes; TracIn follows a loss that falls. Negate the loss and leave "
                        + "maximize out."
                ),
                { IsSgd: true } sgd => full([1], Kept(new ParameterRate(rate, sgd.Momentum, sgd.Dampening).InTheLongRun), session.Dtype),
                { IsAdam: true } => part.Of(
                        OptimizerRecord
                            .Flat(checkpoint.Made.Scale(file, checkpoint.FilePath, name), checkpoint.FilePath, name, part.Parameter.Count)
                            .to(session.Dtype)
                            .mul_(Kept(rate))
                    )
                    .clone(),
                { } other => throw new InfluenceException(
                    $"The checkpoint {checkpoint.FilePath} was made by {other}; the directions of SGD, Adam and AdamW are known. Write "
                        + "Direction = TracIn.UpdateDirection.Sgd."
                ),
                null => throw new InfluenceException(
                    $"The checkpoint {checkpoint.FilePath} does not say how its optimizer moved the parameter {name}. "
                        + "Names must be those under which it was saved; else write Direction = TracIn.UpdateDirection.Sgd."
                ),
            };
        }
    }

    /// <summary>The step of every weight, <c>[P]</c>, in the order of the session's parts; the caller owns it.</summary>
    public Tensor Vector(GradientSession session)
    {
        using var scope = NewDisposeScope();
        var parts = session
            .Parts.SelectMany(block => block)
            .Zip(_weights.SelectMany(block => block), (part, weight) => weight.expand(part.Count));
        return cat([.. parts], 0).DetachFromDisposeScope();
    }

    public override BatchGradients Apply(BatchGradients gradients) =>
        new(NewDisposeScope(), gradients.Ids, gradients.Dtype, gradients.Device)
        {
            Blocks =
            [
                .. gradients.Blocks.Zip(
                    _weights,
                    (block, weights) =>
                        block is null ? null : new DenseGradients(gradients.Count, () => [.. block.Dense().Zip(weights, (g, w) => g * w)])
                ),
            ],
        };

    public override void Dispose()
    {
        foreach (var weight in _weights.SelectMany(w => w))
        {
            weight.Dispose();
        }

        base.Dispose();
    }
}
