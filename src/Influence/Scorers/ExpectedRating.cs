using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// What a language model that was trained to rate gives an example on average, from the logits of the tokens of the ratings at the place
/// where it would write one:
/// <code>score = sum over k of r_k softmax(z)_k</code>
/// DEITA's complexity and quality are two such scores, of two models that rate from 1 to 6.
/// </summary>
/// <remarks>
/// The delegate knows the model that rates: <c>b => rater.call(b["prompt"])[.., -1, ratingTokens]</c>. The task's own model is not used,
/// though it may be the one that rates. Of an answer of several turns the paper sums the product of complexity and quality over the turns:
/// give turns ids of their own and sum afterwards. Cost: the delegate's. Reference: Liu et al., "What Makes Good Data for Alignment?",
/// ICLR 2024, section 2.
/// </remarks>
/// <example>
/// <code>
/// var quality = new ExpectedRating(b => RatingLogits(b["prompt"])).Score(task, train);
/// </code>
/// </example>
public sealed record ExpectedRating : IExampleScorer
{
    private readonly Func<ExampleBatch, Tensor> _logits;

    /// <summary>Takes the logits.</summary>
    /// <param name="logits">From a batch to <c>[B, K]</c>, the logits of the tokens of the K ratings.</param>
    public ExpectedRating(Func<ExampleBatch, Tensor> logits)
    {
        ArgumentNullException.ThrowIfNull(logits);
        _logits = logits;
    }

    /// <summary>The ratings, r.</summary>
    /// <value>1 to 6.</value>
    /// <exception cref="InfluenceException">Fewer than two, or a number that is not finite.</exception>
    public IReadOnlyList<double> Ratings
    {
        get;
        init =>
            field = Check.List(
                value,
                ratings => ratings.Count >= 2 && ratings.All(double.IsFinite),
                "are two finite numbers or more: Ratings = [1, 2, 3, 4, 5, 6]"
            );
    } = [1, 2, 3, 4, 5, 6];

    /// <inheritdoc/>
    /// <returns>One rating per example.</returns>
    /// <exception cref="InfluenceException">Logits of another shape, or that are not finite.</exception>
    public ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(examples);
        InfluenceException.ThrowIfAny([.. examples.Problems("examples")]);
        using var claim = ModelInUse.Claim(task.Model);
        using var noGrad = no_grad();
        using var whole = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "ratings", 1, examples.Count, cancellationToken);
        var ratings = tensor(Ratings.ToArray()); // [K]
        var values = new List<double>(examples.Count);
        foreach (var batch in examples.Batches())
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            values.AddRange(Logits(batch).softmax(1).mv(ratings).data<double>().ToArray());
            reporter.Add(batch.Count);
        }

        return new ExampleScores(
            "Rating",
            examples.Ids,
            [.. values],
            new ScoreMetadata
            {
                Estimator = string.Create(CultureInfo.InvariantCulture, $"expected rating, {Ratings[0]} to {Ratings[^1]}"),
                Sign = "high = rated highly",
                Unit = "rating",
            }
        );
    }

    /// <summary>What the delegate gives, checked, in float64 on the CPU.</summary>
    private Tensor Logits(ExampleBatch batch)
    {
        using var callback = ModelInUse.CallingBack("the delegate of the ratings");
        var given = _logits(batch);
        if (
            given is null
            || given.dim() != 2
            || given.shape[0] != batch.Count
            || given.shape[1] != Ratings.Count
            || !given.is_floating_point()
        )
        {
            throw new InfluenceException(
                $"Logits of ratings are floating-point numbers [{batch.Count}, {Ratings.Count}], a row for each example and a column for "
                    + $"each of Ratings; found {(given is null ? "null" : $"{given.dtype} [{string.Join(", ", given.shape)}]")}."
            );
        }

        var own = given.detach().cpu().to_type(ScalarType.Float64);
        var finite = own.isfinite().all(1).data<bool>().ToArray();
        long[] bad = [.. batch.Ids.Where((_, i) => !finite[i])];
        return bad.Length == 0
            ? own
            : throw new InfluenceException(
                $"The logits of ratings are NaN or infinite for the examples with ids {InfluenceException.List(bad)}."
            )
            {
                ExampleIds = bad,
            };
    }
}
