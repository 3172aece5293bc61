using System.Diagnostics;
using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// A way to make a model behave as if some training examples had never been seen, without training it anew: a task, ids to forget and ids
/// to keep in, new weights out. The model itself is left as it was found.
/// </summary>
/// <remarks>
/// The measure of them all is a model that is retrained without the examples: <see cref="Evaluation.UnlearningTest"/> compares with it.
/// Each method needs the model in evaluation mode, moves the parameters that the task's <see cref="InfluenceTask.Layers"/> choose, and
/// costs, beside what it says itself, two forward passes over the examples to forget and to keep.
/// </remarks>
public abstract partial record UnlearningMethod
{
    private protected UnlearningMethod() { }

    /// <summary>What the literature calls it.</summary>
    public abstract string Name { get; }

    /// <summary>Unlearns.</summary>
    /// <param name="task">The trained model and its training loss; it is left as it was found.</param>
    /// <param name="train">The training examples.</param>
    /// <param name="forget">Ids of the examples to forget.</param>
    /// <param name="keep">Ids of the examples to keep; null: all others.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The new weights; dispose them.</returns>
    /// <exception cref="InfluenceException">
    /// Nothing to forget or to keep, ids that no training example has or that are in both sets, what the method itself refuses, or a step
    /// that is not finite.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Unlearn(
        InfluenceTask task,
        Examples train,
        IEnumerable<long> forget,
        IEnumerable<long>? keep = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(forget);
        ExampleChecks.Run(task, (train, "training examples"));
        var toForget = forget.ToHashSet();
        var toKeep = keep?.ToHashSet() ?? [.. train.Ids.Where(id => !toForget.Contains(id))];
        InfluenceException.ThrowIfAny([.. SetProblems(train, toForget, toKeep, keep is not null), .. Problems(train, toForget, toKeep)]);
        cancellationToken.ThrowIfCancellationRequested();
        var watch = Stopwatch.StartNew();
        using var reporter = new ProgressReporter(progress, Name, 1, 2L * (toForget.Count + toKeep.Count), cancellationToken);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var run = new UnlearningRun(task with { Measurement = null }, train, toForget, toKeep, reporter);
        var before = (Forget: run.MeanLoss(run.Forget, finite: true), Keep: run.MeanLoss(run.Keep, finite: true));
        Move(run);
        if (run.StepNorm() is var norm && !double.IsFinite(norm))
        {
            throw NotFinite();
        }

        var after = (Forget: run.MeanLoss(run.Forget), Keep: run.MeanLoss(run.Keep));
        return double.IsFinite(after.Forget) && double.IsFinite(after.Keep)
            ? Result.Of(task.Model, Name, run.Notes, norm, (before.Forget, after.Forget), (before.Keep, after.Keep), watch.Elapsed)
            : throw NotFinite();
    }

    /// <summary>Leaves the model at the new weights; the run puts it back.</summary>
    private protected abstract void Move(UnlearningRun run);

    /// <summary>What the method refuses beyond the sets themselves.</summary>
    private protected virtual IEnumerable<string> Problems(Examples train, IReadOnlySet<long> forget, IReadOnlySet<long> keep) => [];

    private InfluenceException NotFinite() =>
        new(
            $"The step of {Name} leads to weights or losses that are NaN or infinite: the model cannot be used there. Write more "
                + "damping, a shorter step, a lower learning rate or fewer steps. The model is as before."
        );

    private static IEnumerable<string> SetProblems(Examples train, HashSet<long> forget, HashSet<long> keep, bool keepIsGiven)
    {
        var known = train.Ids.ToHashSet();
        if (forget.Except(known).ToList() is { Count: > 0 } unknown)
        {
            yield return $"There are ids to forget that no training example has: {InfluenceException.List(unknown)}. Ids are those of "
                + "Examples.Ids.";
        }

        if (keep.Except(known).ToList() is { Count: > 0 } foreign)
        {
            yield return $"There are ids to keep that no training example has: {InfluenceException.List(foreign)}. Ids are those of "
                + "Examples.Ids.";
        }

        if (forget.Intersect(keep).ToList() is { Count: > 0 } both)
        {
            yield return $"An example is forgotten or kept, not both; in both sets are {InfluenceException.List(both)}. Write keep: "
                + "train.Ids.Except(forget).";
        }

        if (forget.Count == 0)
        {
            yield return "There is nothing to forget: the set of ids is empty.";
        }

        if (keep.Count == 0)
        {
            yield return keepIsGiven
                ? "There is nothing to keep: the set of ids is empty. Leave keep at null to keep all that is not forgotten."
                : $"All {train.Count} training examples are to be forgotten, and nothing is left to keep. A model that was trained on "
                    + "nothing is an untrained one: make a new one. Or give train all examples of the training run.";
        }
    }
}
