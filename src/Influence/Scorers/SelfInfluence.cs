using Influence.Estimators;

namespace Influence.Scorers;

/// <summary>
/// Scores every example for itself by an estimator of pairs, as a scorer of examples: high for those that the model had to learn by
/// heart, mislabelled ones first among them. The same numbers as the estimator's own method and as the diagonal of its pairs.
/// </summary>
/// <example>
/// <code>
/// IExampleScorer[] scorers = [new ExampleLosses(), new SelfInfluence(new TracIn())];
/// </code>
/// </example>
public sealed record SelfInfluence : IExampleScorer
{
    private readonly Func<InfluenceTask, Examples, IProgress<InfluenceProgress>?, CancellationToken, ExampleScores> _score;

    /// <summary>By TracIn: the sum over checkpoints of rate times squared norm of the gradient.</summary>
    /// <param name="estimator">Its checkpoints; with dot products.</param>
    public SelfInfluence(TracIn estimator)
    {
        ArgumentNullException.ThrowIfNull(estimator);
        _score = estimator.SelfInfluence;
    }

    /// <summary>By influence functions: grad' (H + damping I)^-1 grad.</summary>
    /// <param name="estimator">Not normalised; it, and its preconditioner, stay the caller's.</param>
    public SelfInfluence(InfluenceFunction estimator)
    {
        ArgumentNullException.ThrowIfNull(estimator);
        _score = estimator.SelfInfluence;
    }

    /// <inheritdoc/>
    public ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    ) => _score(task, examples, progress, cancellationToken);
}
