using Influence.Estimators;
using Influence.Scorers;
using Influence.Selection;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// What <see cref="Deita"/> picks from, made of a model: a complexity and a quality for each example, which it multiplies, and embeddings
/// that tell which are alike.
/// </summary>
/// <remarks>
/// <para>
/// The paper asks two language models that were trained to rate, by <see cref="ExpectedRating"/>. Without these the defaults stand in,
/// which are this library's own and not the paper's: an example is complex where the model's loss is high, and good where its gradient
/// points as the reference's does, as a share of the others that it leaves behind. The embeddings are RDS+'s, of the model's last hidden
/// states, where the paper takes those of a large language model.
/// </para>
/// <para>
/// Cost: what the scorers cost; by default three forward passes over the examples and a backward pass, and one over the reference.
/// Reference: Liu et al., "What Makes Good Data for Alignment?" (DEITA), ICLR 2024.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// using var pool = new DeitaPool().Make(task, train, reference: queries);
/// var picked = new Deita().Select(pool, SelectionBudget.Fraction(0.1));
/// </code>
/// </example>
public sealed record DeitaPool
{
    /// <summary>How much there is to learn in an example; no number below 0.</summary>
    /// <value>The loss.</value>
    public IExampleScorer Complexity
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = new ExampleLosses();

    /// <summary>How good an example is; no number below 0.</summary>
    /// <value>Null: the share of examples whose gradient has a lower cosine with the reference's mean gradient.</value>
    public IExampleScorer? Quality { get; init; }

    /// <summary>What tells which examples are alike.</summary>
    /// <value>The model's last hidden states.</value>
    public RdsPlus Embedding
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = new();

    /// <summary>Scores the examples.</summary>
    /// <param name="task">The model and its training loss; left as it was found.</param>
    /// <param name="examples">What there is to choose from.</param>
    /// <param name="reference">Examples as the ones that matter, for the default quality.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The pool, with complexity and quality as its two rows; dispose it.</returns>
    /// <exception cref="InfluenceException">No reference where it is needed, scores below 0, or what a scorer refuses.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public SelectionPool Make(
        InfluenceTask task,
        Examples examples,
        Examples? reference = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (examples, "examples"));
        if (Quality is null && reference is null)
        {
            throw new InfluenceException(
                "The default quality is how an example's gradient agrees with that of a reference: write Make(task, examples, reference), or "
                    + "Quality = new ExpectedRating(b => ...)."
            );
        }

        var complexity = Complexity.Score(task, examples, progress, cancellationToken);
        var quality =
            Quality?.Score(task, examples, progress, cancellationToken)
            ?? Agreement(task, examples, reference!, progress, cancellationToken);
        using var embeddings = Embedding.Embed(task, examples, progress, cancellationToken);
        return new SelectionPool([complexity, quality]) { Features = embeddings };
    }

    private static ExampleScores Agreement(
        InfluenceTask task,
        Examples examples,
        Examples reference,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    )
    {
        using var scores = new TracIn
        {
            Similarity = TracIn.GradientSimilarity.Cosine,
            Aggregation = InfluenceFunction.QueryAggregation.Mean,
        }.Score(task, examples, reference, progress, cancellationToken);
        var cosines = scores.ForQuery(0).Values;

        // Of equal ones the first place, so that they have the same share.
        var places = cosines.Order().Index().GroupBy(p => p.Item).ToDictionary(same => same.Key, same => same.First().Index);
        double[] shares = [.. cosines.Select(c => (double)places[c] / cosines.Count)];
        return ExampleScores.Of(scores.ForQuery(0).Ids, shares, "agreement with the reference");
    }
}
