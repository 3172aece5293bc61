using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Scores of matched pairs.</summary>
public sealed partial record InfluenceFunction
{
    /// <summary>
    /// Scores each training example for the query at its own place, and for no other: the diagonal of <see cref="PairEstimators.Score"/>
    /// without the matrix, <c>s_i = grad f(q_i)' (H + damping I)^-1 grad L(z_i)</c>. With the rejected answers as training examples and the
    /// chosen ones as queries it tells which preference pairs pull the model both ways at once.
    /// </summary>
    /// <remarks>
    /// Exact, whatever <see cref="Tolerance"/> is. Cost: one forward and backward pass over both sets, the queries' gradients written out
    /// and preconditioned, and N products. Memory: what <see cref="MemoryBudget"/> allows a batch of both.
    /// </remarks>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
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
        CheckCheckpoint(task);
        InfluenceException.ThrowIfAny([
            .. Aggregation != QueryAggregation.None
                ? ["Matched scores are of single queries. Leave Aggregation at None."]
                : Array.Empty<string>(),
            .. Normalization == ScoreNormalization.Leverage
                ? ["Matched scores are not divided by leverages. Leave Normalization at None, or write Theta or Loss."]
                : Array.Empty<string>(),
            .. Work is not null ? ["Matched scores are not kept in units. Leave Work out."] : Array.Empty<string>(),
        ]);
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "scoring", 1, train.Count, cancellationToken);
        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
        var totals = new double[train.Count];
        MatchedScores.Add(totals, Products(session, inverse), train, queries, reporter);
        Log.Scored(task.Logger, Name, 1, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return MatchedScores.Of(train, totals, Metadata(task, session, inverse));
    }
}
