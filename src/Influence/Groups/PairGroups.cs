using Influence.Estimators;

namespace Influence.Groups;

/// <summary>Sums of scores by group, for every <see cref="IPairEstimator"/>.</summary>
public static class PairGroups
{
    /// <summary>
    /// Scores every training example for every query, and keeps the sum over each group's members. No score is kept, so memory does not
    /// grow with the number of training examples. Where the estimator is linear in the gradients <see cref="GroupInfluence"/> gives the
    /// same sums for less; this works with cosines and normalised scores too.
    /// </summary>
    /// <inheritdoc cref="PairEstimators.Score"/>
    /// <param name="estimator">How pairs are scored.</param>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="groups">Groups of their ids; examples in none are scored and count nowhere.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each batch, on the calling thread where the implementation is synchronous.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One row for each query, with standard errors from the spread of the members' scores, in plain memory.</returns>
    public static GroupScores SumByGroup(
        this IPairEstimator estimator,
        InfluenceTask task,
        Examples train,
        ExampleGroups groups,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(estimator);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(groups);
        InfluenceException.ThrowIfAny([.. GroupPlan.Problems(groups, train, "groups", "training examples")]);
        using var sink = new GroupSumSink(groups);
        return sink.Finish(estimator.ScoreInto(sink, task, train, queries, progress, cancellationToken));
    }
}
