namespace Influence.Estimators;

/// <summary>
/// What scores pairs of a training example and a query. It has one method, which hands scores to a sink block by block;
/// <see cref="PairEstimators"/> makes the calls of it that users write: <see cref="PairEstimators.Score"/> for all scores in memory,
/// <see cref="PairEstimators.Strongest"/> for the k strongest of each query, <see cref="PairEstimators.ScoreToFile"/> for a file.
/// </summary>
/// <remarks>
/// Write one of your own, and everything that takes scores works with it:
/// <code>
/// sealed class LastHiddenState(Func&lt;ExampleBatch, Tensor&gt; embed) : IPairEstimator
/// {
///     public ScoreMetadata ScoreInto(ScoreSink sink, InfluenceTask task, Examples train, Examples queries, ...)
///     {
///         sink.Begin(queries.Ids, train.Ids, ScalarType.Float32);
///         foreach (block of training examples, in order)
///             sink.Add(query: 0, train: first, values);        // [Q, b]
///         return new ScoreMetadata { Estimator = "similarity of hidden states", Unit = "dot product" };
///     }
/// }
/// </code>
/// </remarks>
public interface IPairEstimator
{
    /// <summary>Scores every training example for every query and hands the scores to a sink, block by block.</summary>
    /// <param name="sink">Decides what becomes of them. It is begun once, then given every score once; it stays the caller's.</param>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each batch, on the calling thread where the implementation is synchronous.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>How the scores were made and how to read them.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    );
}
