namespace Influence.Scorers;

/// <summary>
/// Scores single examples, without queries: what a loss, a gradient's norm or self-influence says of each. What it needs besides the
/// examples is in its properties, so that any of them can stand where one is wanted, yours too.
/// </summary>
public interface IExampleScorer
{
    /// <summary>Scores every example.</summary>
    /// <param name="task">The model and its losses. The model is left as it was found, its weights too.</param>
    /// <param name="examples">N examples.</param>
    /// <param name="progress">Told after each batch, on the calling thread where the implementation is synchronous.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One score per example, in the order of the examples; plain memory, nothing to dispose.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    );
}
