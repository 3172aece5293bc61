using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

public sealed partial record InfluenceFunction
{
    private const double MostLeverage = 0.99;

    /// <summary>
    /// How many labels are drawn from the model for each example's leverage. The error of an example's leverage h is about h sqrt(2 /
    /// draws) for a squared error on one output, and more where the model is all but sure of its label.
    /// </summary>
    /// <value>16.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int LeverageDraws
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 16;

    /// <summary>
    /// How much of its own prediction each training example makes: the trace of its share in the curvature of the fit,
    /// <code>h(z) = tr((N (H + damping I))^-1 J_z' B_z J_z)  ~  mean over draws of g' (H + damping I)^-1 g / N</code>
    /// with g the gradient at a label that is drawn from the model. For least squares it is the leverage x' (X'X)^-1 x; it does not depend
    /// on the example's own label, as self-influence does. Leaving the example out changes a linear model by 1/(1 - h) times what the plain
    /// influence function says.
    /// </summary>
    /// <param name="task">The model at the weights of the fit, and its loss, of which labels can be drawn (as for
    /// <c>Fisher.Sampled</c>).</param>
    /// <param name="train">N training examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One leverage per example, from 0, usually below 1.</returns>
    /// <remarks>
    /// Cost: <see cref="LeverageDraws"/> passes over the training examples. Labels are keyed by the fit's seed, draw and example id.
    /// Reference: "Rescaled Influence Functions: Accurate Data Attribution in High Dimension", 2025 (arXiv 2506.06656); its trace is
    /// estimated here by sampled labels.
    /// </remarks>
    /// <exception cref="InfluenceException">Bad input, or a loss whose labels cannot be drawn.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public ExampleScores Leverage(
        InfluenceTask task,
        Examples train,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (train, "training examples"));
        CheckCheckpoint(task);
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "leverage", LeverageDraws, train.Count, cancellationToken);
        using var session = GradientSession.Open(task, train, null, memory: MemoryBudget);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
        var totals = zeros([train.Count], session.Dtype, CPU); // [N]
        var products = new GradientProducts(session, MemoryBudget, inverse, Gradients.Normalization.None);
        var weight = 1.0 / LeverageDraws / _preconditioner.Info.Examples;
        for (var draw = 0; draw < LeverageDraws; draw++)
        {
            // Other draws than those of the fit: the curvature must not know the very labels that it is asked about.
            session.Losses.Seed = unchecked((_preconditioner.Info.Seed * 1_000_003) + 7_919 + draw);
            products.AddSampledSelf(totals, train, weight, reporter);
        }

        Log.Scored(task.Logger, Name, 1, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "Leverage",
            train.Ids,
            totals.to_type(ScalarType.Float64).data<double>().ToArray(),
            Metadata(task, session, inverse) with
            {
                Estimator = $"{Name}, leverage by {LeverageDraws} labels",
                Sign = "high = the model's prediction is the example's own making",
                Unit = "share",
                LeaveOneOutFactor = null,
            }
        );
    }

    private double[] LeverageFactors(InfluenceTask task, Examples train, IProgress<InfluenceProgress>? progress, CancellationToken token) =>
        [.. Leverage(task, train, progress, token).Values.Select(h => 1 / (1 - Math.Clamp(h, 0, MostLeverage)))];

    private Checkpoint? MadeBy => (Checkpoint ?? Damping?.Decay?.Checkpoint) is { Made.IsKnown: true } known ? known : null;

    private string OptimizerNote =>
        MadeBy is not { } made ? string.Empty
        : Damping?.Decay is { Run.Count: > 0 }
            ? $"made by {made.Optimizer}: the length of its run, its steps' scale and its weight decay are in the damping"
        : Damping?.Decay is not null
            ? $"made by {made.Optimizer}: its weight decay is in the damping, its steps are not in the formula, "
                + "which takes the weights as a minimum"
        : made.Made.DecaysBeside
            ? $"made by {made.Optimizer}: the formula takes the weights as a minimum of the loss plus damping/2 "
                + "|w|^2, and AdamW's decay is a damping of decay (sqrt(v) + eps) for "
                + "each weight; write Damping = Damping.OfOptimizer(checkpoint, 0.1)"
        : made.Made.IsAdam ? $"made by {made.Optimizer}: the formula takes the weights as a minimum, and Adam's steps are not in it"
        : $"made by {made.Optimizer}";

    private void CheckCheckpoint(InfluenceTask task)
    {
        if (Checkpoint?.DiffersFrom(task.Model) is { } name)
        {
            throw new InfluenceException(
                $"Checkpoint is {Checkpoint.FilePath}, but the model has other weights in {name}. Write checkpoint.LoadInto(model) before "
                    + "the fit, or leave Checkpoint out."
            );
        }
    }
}
