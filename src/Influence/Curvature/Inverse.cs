using Influence.Gradients;

namespace Influence.Curvature;

/// <summary>
/// (H + damping I)^-1 at one damping, as the metric of influence functions. It may own tensors; the preconditioner that made
/// it outlives it.
/// </summary>
internal abstract class Inverse : GradientMetric
{
    /// <summary>The damping of each block, by name, where blocks are damped on their own; else one entry.</summary>
    public virtual IReadOnlyList<(string Block, double Damping)> Dampings => [];

    /// <summary>How far a solver came, in words for the metadata; null where nothing was iterated.</summary>
    public virtual string? Report => null;

    public abstract override BatchGradients Apply(BatchGradients gradients);
}
