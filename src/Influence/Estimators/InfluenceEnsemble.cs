using Influence.Curvature;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Influence functions averaged over several checkpoints of a run, or over several models: curvature is fitted anew at each.
/// Averages are closer to retraining than any one member, because the members' errors are partly independent.
/// </summary>
/// <example>
/// <code>
/// var ensemble = new InfluenceEnsemble(task => Ekfac.Fit(task, train));
/// using var scores = ensemble.OverCheckpoints(task, recorder.Checkpoints, train, queries);
/// </code>
/// </example>
public sealed record InfluenceEnsemble
{
    private readonly Func<InfluenceTask, Preconditioner> _fit;

    /// <summary>Takes the way to fit curvature.</summary>
    /// <param name="fit">Fits a preconditioner at a task's current weights; it is disposed after use.</param>
    public InfluenceEnsemble(Func<InfluenceTask, Preconditioner> fit)
    {
        ArgumentNullException.ThrowIfNull(fit);
        _fit = fit;
    }

    /// <summary>How a member scores: damping, normalisation, aggregation.</summary>
    /// <value>The defaults of <see cref="InfluenceFunction"/>.</value>
    public Func<Preconditioner, InfluenceFunction> Function { get; init; } = preconditioner => new InfluenceFunction(preconditioner);

    /// <summary>The mean over checkpoints of one run.</summary>
    /// <param name="task">The model; it has its own weights again afterwards, also on failure.</param>
    /// <param name="checkpoints">At least one; learning rates do not count.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="progress">Told after each batch of each member.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, N]</c> in loss units; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, or no checkpoint.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public InfluenceScores OverCheckpoints(
        InfluenceTask task,
        IReadOnlyList<Checkpoint> checkpoints,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(checkpoints);
        using var weights = new WeightKeeper(task.Model, checkpoints);
        var (values, first) = Mean(checkpoints.Count, "checkpoints", AtCheckpoint, train, queries, progress, cancellationToken);
        return new InfluenceScores(values, first.QueryIds, first.TrainIds, first.Metadata with
        {
            Checkpoints = "mean over " + string.Join("; ", checkpoints.Select(c => $"step {c.Step}")),
        });

        InfluenceTask AtCheckpoint(int i)
        {
            weights.Load(i);
            return task;
        }
    }

    /// <summary>The mean over models that were trained on the same data, with other seeds for instance.</summary>
    /// <param name="models">At least one; each with its own loss delegate.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="progress">Told after each batch of each member.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, N]</c> in loss units; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, or no model.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the models are as before.</exception>
    public InfluenceScores OverModels(
        IReadOnlyList<InfluenceTask> models,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(models);
        var (values, first) = Mean(models.Count, "models", i => models[i], train, queries, progress, cancellationToken);
        return new InfluenceScores(values, first.QueryIds, first.TrainIds, first.Metadata with { Checkpoints = $"mean over {models.Count} models" });
    }

    private (Tensor Values, (IReadOnlyList<long> QueryIds, IReadOnlyList<long> TrainIds, ScoreMetadata Metadata) First) Mean(
        int members,
        string what,
        Func<int, InfluenceTask> member,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token)
    {
        if (members == 0)
        {
            throw new InfluenceException($"There are no {what} to average over; at least one is needed.");
        }

        Tensor? sum = null;
        (IReadOnlyList<long>, IReadOnlyList<long>, ScoreMetadata)? first = null;
        try
        {
            for (var i = 0; i < members; i++)
            {
                token.ThrowIfCancellationRequested();
                var task = member(i);
                using var preconditioner = _fit(task);
                using var scores = Function(preconditioner).Score(task, train, queries, progress, token);
                first ??= (scores.QueryIds, scores.TrainIds, scores.Metadata);
                if (sum is null)
                {
                    sum = (scores.Values / members).DetachFromDisposeScope();
                }
                else
                {
                    using var scope = NewDisposeScope();
                    sum.add_(scores.Values, 1.0 / members);
                }
            }
        }
        catch
        {
            sum?.Dispose();
            throw;
        }

        return (sum!, first!.Value);
    }
}
