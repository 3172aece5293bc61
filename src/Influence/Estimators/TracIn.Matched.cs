using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Scores of matched pairs.</summary>
public sealed partial record TracIn
{
    /// <summary>
    /// Scores each training example for the query at its own place, and for no other: the diagonal of <see cref="PairEstimators.Score"/>
    /// without the matrix,
    /// <code>s_i = sum over checkpoints of rate * grad L(w, z_i) . grad f(w, q_i)</code>
    /// With the rejected answers as training examples and the chosen ones as queries it tells which preference pairs pull the model both
    /// ways at once: where the two gradients agree, pushing the rejected answer down pushes the chosen one down with it.
    /// </summary>
    /// <remarks>
    /// Cost: for each checkpoint one forward and backward pass over both sets and N products, whose form (pairs of positions, or gradients
    /// written out) is chosen for each layer by counted operations. Memory: what <see cref="MemoryBudget"/> allows a batch of both sets.
    /// <see cref="TracIn.UpdateDirection.Less"/> and its code's variant are refused.
    /// </remarks>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">N queries, each the partner of the training example at its place; their measurement is explained.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One score a pair, by the training examples' ids.</returns>
    /// <exception cref="InfluenceException">Bad input, sets of unlike length, or a setting that is not of pairs.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public ExampleScores ScoreMatched(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        MatchedScores.Check(task, train, queries);
        CheckDirection();
        InfluenceException.ThrowIfAny([
            .. Aggregation != InfluenceFunction.QueryAggregation.None
                ? ["Matched scores are of single queries. Leave Aggregation at None."]
                : Array.Empty<string>(),
            .. Direction is UpdateDirection.Less or UpdateDirection.LessCode
                ? [$"Matched scores have no Direction = UpdateDirection.{Direction}. Write Optimizer or Sgd."]
                : Array.Empty<string>(),
            .. Work is not null ? ["Matched scores are not kept in units. Leave Work out."] : Array.Empty<string>(),
        ]);
        using var scope = NewDisposeScope();
        using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
        using var reporter = new ProgressReporter(progress, "scoring", Math.Max(1, Count), train.Count, cancellationToken);
        var totals = new double[train.Count];
        ParameterCoverage? coverage = null;
        EachCheckpoint(
            task,
            train,
            queries,
            weights,
            reporter,
            (session, products) =>
            {
                coverage ??= session.Coverage;
                MatchedScores.Add(totals, products, train, queries, reporter);
            }
        );
        Log.Scored(task.Logger, Name, 1, train.Count, Math.Max(1, Count), reporter.Elapsed.TotalSeconds);
        return MatchedScores.Of(train, totals, Metadata(task, coverage!, self: false));
    }
}
