using System.Globalization;
using Influence.Gradients;

namespace Influence.Curvature;

/// <summary>
/// What is added to every eigenvalue of the curvature before it is inverted, (H + damping I)^-1. Too little lets directions
/// that the data hardly show dominate; too much leaves a gradient dot product.
/// </summary>
/// <remarks>
/// Weight decay belongs in it: at an optimum trained with an L2 penalty of decay/2 |w|^2 (SGD's or Adam's <c>weight_decay</c>) beside the
/// mean loss, the curvature of what was minimised is H + decay I, so <c>Damping.Absolute(decay)</c> gives its inverse where the task's loss
/// leaves the penalty out; where the task's loss contains it, <see cref="CurvatureMatrix.Hessian"/> has it already, and it must not be
/// added again. AdamW's decay is none of these: see <see cref="OfOptimizer"/>.
/// </remarks>
public sealed record Damping
{
    private const string Relative = " x mean eigenvalue";
    private const string AbsoluteEnding = " absolute";

    private Damping(double value, bool relative)
    {
        if (!double.IsFinite(value) || value < 0)
        {
            throw new InfluenceException(
                $"Damping is a finite number that is not negative; found {value.ToString(CultureInfo.InvariantCulture)}."
            );
        }

        (Value, IsRelative) = (value, relative);
    }

    /// <summary>The number: absolute, or a factor on the mean eigenvalue.</summary>
    public double Value { get; }

    /// <summary>Whether <see cref="Value"/> multiplies each layer's mean eigenvalue.</summary>
    public bool IsRelative { get; }

    /// <summary>0.1 times the mean eigenvalue: Grosse et al. 2023, section 5.1.</summary>
    public static Damping Default { get; } = RelativeToMeanEigenvalue(0.1);

    /// <summary>
    /// A factor on the mean eigenvalue: of each layer for layer-wise curvature, of the whole for solvers that treat the
    /// parameters as one.
    /// </summary>
    /// <param name="factor">The factor; 0.1 is usual.</param>
    /// <returns>The damping.</returns>
    /// <exception cref="InfluenceException">Negative, NaN or infinite.</exception>
    public static Damping RelativeToMeanEigenvalue(double factor) => new(factor, relative: true);

    /// <summary>The same number for every layer, in the unit of the curvature (loss over squared parameter).</summary>
    /// <param name="value">The damping; 0 gives the pseudo-inverse.</param>
    /// <returns>The damping.</returns>
    /// <exception cref="InfluenceException">Negative, NaN or infinite.</exception>
    public static Damping Absolute(double value) => new(value, relative: false);

    /// <summary>
    /// The damping that the optimizer's weight decay is. Where AdamW stands still, gradient + decay (sqrt(v) + eps) w = 0, so that
    /// with v held fixed the curvature of what it minimised is
    /// <code>H + decay diag(sqrt(v / (1 - beta2^t)) + eps)</code>
    /// and the decay acts on each weight by its own second moment, not by the decay itself. The L2 decay of SGD and Adam is <c>decay I</c>.
    /// </summary>
    /// <param name="checkpoint">
    /// The checkpoint of the scored weights, with its optimizer's state, as <c>Checkpoint.Save(path, model, optimizer, step)</c> or
    /// <c>CheckpointRecorder</c> wrote it.
    /// </param>
    /// <param name="factorOfMeanEigenvalue">What is added to it, as <see cref="RelativeToMeanEigenvalue"/> means it: weights without decay
    /// have no damping else.</param>
    /// <returns>
    /// The damping, for a call, not for a fit. Layer-wise curvature adds each block's mean of it to the eigenvalues;
    /// <see cref="BlockConjugateGradient"/> adds it weight by weight. Other preconditioners refuse it.
    /// </returns>
    /// <exception cref="InfluenceException">The checkpoint does not say which optimizer made it, or the factor is negative or not
    /// finite.</exception>
    /// <example><code>
    /// var damping = Damping.OfOptimizer(recorder.Checkpoints[^1], 0.1);
    /// using var scores = new InfluenceFunction(ekfac) { Damping = damping }.Score(task, train, queries);
    /// </code></example>
    public static Damping OfOptimizer(Checkpoint checkpoint, double factorOfMeanEigenvalue = 0)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        return checkpoint.Made.IsKnown
            ? new(factorOfMeanEigenvalue, relative: true) { Decay = new OptimizerDecay(checkpoint) }
            : throw new InfluenceException(
                $"Damping.OfOptimizer needs a checkpoint that holds its optimizer's state; {checkpoint.FilePath} holds none. Write "
                    + "Checkpoint.Save(path, model, optimizer, step) or use a CheckpointRecorder, or Damping.Absolute(decay) for an L2 "
                    + "penalty."
            );
    }

    /// <summary>The optimizer's weight decay; null where the damping has nothing of it.</summary>
    internal OptimizerDecay? Decay { get; private init; }

    /// <summary>
    /// The damping that the length of a run is. Steps at rates eta_k follow the loss downhill for a time tau = sum of eta_k, and bring a
    /// direction of curvature h to (1 - exp(-tau h)) / h of its gradient, which is
    /// <code>1 / (h + 1/tau)</code>
    /// up to a factor between 1 and 1.3: training that ends before it is at a minimum acts like a damping of 1/tau, and like
    /// (sqrt(v / (1 - beta2^t)) + eps) / tau weight by weight where Adam or AdamW divided by that. With it scores over N are of the scale
    /// of what leaving examples out of that very run does, also for a model that was fine-tuned by a few small steps, where
    /// <see cref="Default"/> stands for a run that never ends and claims far too much.
    /// </summary>
    /// <param name="checkpoints">
    /// The run, in the order of its steps; the last has the weights that are scored. Rates between checkpoints are taken as a line, that
    /// before the first as the first one's. For Adam and AdamW the last must hold the optimizer's state, as
    /// <c>Checkpoint.Save(path, model, optimizer, step)</c> or <c>CheckpointRecorder</c> wrote it; its weight decay is added as
    /// <see cref="OfOptimizer"/> does.
    /// </param>
    /// <param name="factorOfMeanEigenvalue">What is added to it, as <see cref="RelativeToMeanEigenvalue"/> means it.</param>
    /// <returns>
    /// The damping, for a call, not for a fit. Layer-wise curvature adds to each block's eigenvalues the one number by which a gradient as
    /// large as Adam's second moments v says moves the loss as far as by each weight's own, sum v over sum v / (sqrt(v) + eps), over tau:
    /// weights that no gradient reached, as of tokens that were not there, count for nothing. <see cref="BlockConjugateGradient"/> adds it
    /// weight by weight. Other preconditioners refuse it.
    /// </returns>
    /// <remarks>
    /// The formula of <c>Source</c> with one segment comes to the same without the factor of 1.3, for a curvature and gradients that are
    /// means over the run; this needs one fit at the end of it. References: Goodfellow, Bengio, Courville, "Deep Learning", 2016, section
    /// 7.8 (early stopping as weight decay); Bae et al., "Training Data Attribution via Approximate Unrolled Differentiation", 2024.
    /// </remarks>
    /// <exception cref="InfluenceException">No checkpoints, steps that do not ascend, or none above 0, an optimizer that is not known, or a
    /// factor that is negative or not finite. A parameter that the run did not train is refused at the call.</exception>
    /// <example><code>
    /// var damping = Damping.OfRun(recorder.Checkpoints);
    /// using var scores = new InfluenceFunction(ekfac) { Damping = damping }.Score(task, train, queries);
    /// </code></example>
    public static Damping OfRun(IReadOnlyList<Checkpoint> checkpoints, double factorOfMeanEigenvalue = 0)
    {
        ArgumentNullException.ThrowIfNull(checkpoints);
        if (
            checkpoints.Count == 0
            || checkpoints[0].Step < 0
            || checkpoints[^1].Step == 0
            || checkpoints.Zip(checkpoints.Skip(1)).Any(pair => pair.First.Step >= pair.Second.Step)
        )
        {
            throw new InfluenceException(
                "Damping.OfRun needs the checkpoints of a run in the order of their steps, the last above 0; found "
                    + $"{(checkpoints.Count == 0 ? "none" : "steps " + InfluenceException.List([.. checkpoints.Select(c => c.Step)]))}. "
                    + "Write recorder.Checkpoints, or Damping.Absolute(1 / tau) with tau the sum of the steps' learning rates."
            );
        }

        return checkpoints[^1].Made.IsKnown
            ? new(factorOfMeanEigenvalue, relative: true) { Decay = new OptimizerDecay(checkpoints[^1]) { Run = [.. checkpoints] } }
            : throw new InfluenceException(
                $"Damping.OfRun needs to know the optimizer that made the run; {checkpoints[^1].FilePath} does not say it. Write "
                    + "Checkpoint.Save(path, model, optimizer, step) or use a CheckpointRecorder; or, for a run of SGD, "
                    + "Damping.Absolute(1 / tau) with tau the sum of the steps' learning rates."
            );
    }

    /// <summary>Refuses the optimizer's decay where a damping is one number.</summary>
    internal Damping AsOneNumber() =>
        Decay is null
            ? this
            : throw new InfluenceException(
                $"Damping.{Decay.Maker} differs from weight to weight; Ekfac, Kfac, DiagonalFisher and BlockConjugateGradient know "
                    + "how to take it, at a call. Write Damping.Absolute(...) or RelativeToMeanEigenvalue(...) here."
            );

    /// <summary>The absolute damping for a curvature of that mean eigenvalue.</summary>
    internal double For(double meanEigenvalue) => AsOneNumber().IsRelative ? Value * meanEigenvalue : Value;

    /// <summary>The absolute damping of a block of that mean eigenvalue.</summary>
    internal double For(double meanEigenvalue, IReadOnlyList<ParameterPart> parts) =>
        Decay is { } decay ? (Value * meanEigenvalue) + decay.Mean(parts) : For(meanEigenvalue);

    /// <summary>For example <c>0.1 x mean eigenvalue</c>.</summary>
    /// <returns>One line.</returns>
    public override string ToString() =>
        Decay is { } decay
            ? (Value == 0 ? string.Empty : Value.ToString("R", CultureInfo.InvariantCulture) + Relative + " + ") + decay
            : Value.ToString("R", CultureInfo.InvariantCulture) + (IsRelative ? Relative : AbsoluteEnding);

    /// <summary>What <see cref="ToString"/> writes; null for anything else.</summary>
    internal static Damping? TryParse(string text)
    {
        var isRelative = text.EndsWith(Relative, StringComparison.Ordinal);
        return
            (isRelative || text.EndsWith(AbsoluteEnding, StringComparison.Ordinal))
            && double.TryParse(
                text.AsSpan(0, text.Length - (isRelative ? Relative : AbsoluteEnding).Length),
                NumberStyles.Float,
                CultureInfo.InvariantCulture,
                out var value
            )
            && double.IsFinite(value)
            && value >= 0
            ? new Damping(value, isRelative)
            : null;
    }
}
