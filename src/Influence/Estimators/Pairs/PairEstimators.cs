using System.Runtime.ExceptionServices;
using Influence.Formats;
using Influence.Numerics;

namespace Influence.Estimators;

/// <summary>
/// The calls that every <see cref="IPairEstimator"/> has, whoever wrote it: the same names, the same parameters, one for each thing that
/// may become of the scores.
/// </summary>
public static class PairEstimators
{
    /// <summary>Scores every training example for every query, and keeps all scores in memory.</summary>
    /// <param name="estimator">How pairs are scored.</param>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each batch, on the calling thread where the implementation is synchronous.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, N]</c>, or <c>[1, N]</c> where queries are scored together (the row's id is then -1), in the model's dtype, on the
    /// CPU; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static InfluenceScores Score(
        this IPairEstimator estimator,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(estimator);
        using var sink = new DenseSink();
        return sink.Finish(Measured(estimator, sink, task, train, queries, progress, cancellationToken));
    }

    /// <summary>
    /// Scores every training example for every query, and keeps the k proponents and the k opponents of each query: the same as all
    /// scores would give, in memory Q k beside one block of scores, whatever N.
    /// </summary>
    /// <inheritdoc cref="Score"/>
    /// <param name="estimator">How pairs are scored.</param>
    /// <param name="k">How many of each kind, 1 to N.</param>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each batch, on the calling thread where the implementation is synchronous.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The rankings, in plain memory.</returns>
    public static StrongestExamples Strongest(
        this IPairEstimator estimator,
        int k,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(estimator);
        ArgumentNullException.ThrowIfNull(train);
        if (k < 1 || k > train.Count)
        {
            throw new InfluenceException(
                "k, how many examples to keep for each query, lies between 1 and the number of training "
                    + $"examples, {train.Count}; found {k}."
            );
        }

        using var sink = new StrongestSink(k);
        return sink.Finish(Measured(estimator, sink, task, train, queries, progress, cancellationToken));
    }

    /// <summary>
    /// Scores every training example for every query, and writes the scores to a file while they are made, in the memory of one block.
    /// It is the file that <see cref="InfluenceScores.Save"/> writes; <see cref="InfluenceScores.LoadPart"/> reads some of it. An older
    /// file of that name stays until the new one is whole; a call that fails or is cancelled leaves nothing behind.
    /// </summary>
    /// <inheritdoc cref="Score"/>
    /// <param name="estimator">How pairs are scored.</param>
    /// <param name="path">The file, ending in <c>.safetensors</c>; missing folders are made. Its room on the disk is taken before the first
    /// batch.</param>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each batch, on the calling thread where the implementation is synchronous.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>How the scores were made; it is in the file too.</returns>
    public static ScoreMetadata ScoreToFile(
        this IPairEstimator estimator,
        string path,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(estimator);
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        ScoreMetadata? metadata = null;
        ExceptionDispatchInfo? failure = null;
        try
        {
            AtomicFile.Write(
                path,
                stream =>
                {
                    using var sink = new FileSink(stream);
                    try
                    {
                        metadata = Measured(estimator, sink, task, train, queries, progress, cancellationToken);
                    }
                    catch (Exception exception) when (!sink.Failed)
                    {
                        failure = ExceptionDispatchInfo.Capture(exception);
                        throw;
                    }

                    sink.Finish(metadata);
                }
            );
        }
        catch (Exception) when (failure is not null)
        {
            // What the estimator threw is not the file's failure, whatever its type.
            failure.Throw();
        }

        return metadata!;
    }

    /// <summary>Scores, and says what that cost, whoever wrote the estimator.</summary>
    private static ScoreMetadata Measured(
        IPairEstimator estimator,
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        using var meter = CostMeter.Begin("scoring");
        return estimator.ScoreInto(sink, task, train, queries, progress, token) with { Cost = ScoreMetadata.RunCost.Of(meter) };
    }
}
