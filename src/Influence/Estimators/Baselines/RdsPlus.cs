using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// RDS+: the cosine of two examples' hidden states, pooled with weights that grow with the position,
/// <code>e = sum over valid positions of t h_t / sum of t,   s = e_i . e_q / (|e_i| |e_q|),   t = 1, 2, ... over the valid positions</code>
/// since a later position of a causal model has seen more. It knows nothing of the loss: a high score means alike, and nothing is an
/// opponent.
/// </summary>
/// <remarks>
/// Positions are those of <see cref="InfluenceTask.PositionMask"/>, all without one; padding before and after the text therefore changes
/// nothing. Cost: one forward pass an example and <c>O(Q N d)</c>. Scores are float64. For several tasks, the published selection takes
/// round-robin over queries of each query's best. Reference: Ivison, Zhang, Brahman, Koh, Dasigi, "Large-Scale Data Selection for
/// Instruction Tuning", 2025.
/// </remarks>
/// <example>
/// <code>
/// using var scores = new RdsPlus().Score(task, train, queries);        // or new RdsPlus(b => model.Hidden(b["tokens"]))
/// </code>
/// </example>
public sealed record RdsPlus : IPairEstimator
{
    private const string What = "Hidden states";

    private readonly Func<ExampleBatch, Tensor>? _hidden;

    /// <summary>
    /// Finds the hidden states: what the <c>nn.Linear</c> that the training loss calls last reads, a language model's head. Where the head
    /// is no <c>nn.Linear</c>, as a product with the embeddings' table, that is another layer's: give the delegate then.
    /// </summary>
    public RdsPlus() { }

    /// <summary>Takes the hidden states, usually the last layer's.</summary>
    /// <param name="hidden">From a batch to <c>[B, T, d]</c>, floating-point numbers; the same d for queries.</param>
    public RdsPlus(Func<ExampleBatch, Tensor> hidden)
    {
        ArgumentNullException.ThrowIfNull(hidden);
        _hidden = hidden;
    }

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">Bad input, hidden states of another shape, that are not finite, or an example without a valid
    /// position.</exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        using var found = _hidden is null ? new LastLinearInput(task) : null;
        var hidden = _hidden ?? found!.Of;
        var metadata = new EmbeddingSimilarity(batch => Pooled(task, hidden, batch)).ScoreInto(
            sink,
            task,
            train,
            queries,
            progress,
            cancellationToken
        );
        return metadata with { Estimator = "RDS+", Layers = "those of the hidden states" };
    }

    /// <summary>The pooled hidden states themselves, for what compares examples with one another: <c>new SelectionPool(scores) { Features =
    /// embeddings }</c>, clusters, near duplicates.</summary>
    /// <param name="task">The model; left as it was found.</param>
    /// <param name="examples">N examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[N, d]</c>, float64 rows of length 1 on the CPU; the caller's.</returns>
    /// <exception cref="InfluenceException">As for scores.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Tensor Embed(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (examples, "examples"));
        using var claim = ModelInUse.Claim(task.Model);
        using var noGrad = no_grad();
        using var found = _hidden is null ? new LastLinearInput(task) : null;
        var hidden = _hidden ?? found!.Of;
        using var reporter = new ProgressReporter(progress, "embeddings", 1, examples.Count, cancellationToken);
        using var whole = NewDisposeScope();
        var rows = new List<Tensor>();
        foreach (var batch in examples.Batches())
        {
            using var scope = NewDisposeScope();
            var own = FeatureReader.Rows(given => Pooled(task, hidden, given), batch, What);
            rows.Add(FeatureReader.Normalized(own).MoveToOuterDisposeScope()); // [B, d]
            reporter.AddOrCancel(batch.Count);
        }

        return cat(rows, 0).MoveToOuterDisposeScope();
    }

    private static Tensor Pooled(InfluenceTask task, Func<ExampleBatch, Tensor> read, ExampleBatch batch)
    {
        var hidden = read(batch);
        if (hidden is null || hidden.dim() != 3 || hidden.shape[0] != batch.Count || !hidden.is_floating_point())
        {
            throw new InfluenceException(
                $"Hidden states are floating-point numbers [B, T, d] with B = {batch.Count}; found "
                    + $"{(hidden is null ? "null" : $"{hidden.dtype} [{string.Join(", ", hidden.shape)}]")}."
            );
        }

        var states = hidden.detach().to_type(ScalarType.Float64);
        var valid = ones([batch.Count, states.shape[1]], ScalarType.Float64, states.device);
        if (task.PositionMask is { } positions)
        {
            var mask = positions(batch);
            using Scalar zero = Kept(0);
            valid =
                mask.dim() == 2 && mask.shape[0] == batch.Count && mask.shape[1] == states.shape[1]
                    ? mask.ne(zero).to(states.device).to_type(ScalarType.Float64)
                    : throw new InfluenceException(
                        $"PositionMask returns [B, T], one value for each of the hidden states' positions [{batch.Count}, "
                            + $"{states.shape[1]}]; found [{string.Join(", ", mask.shape)}]."
                    );
        }

        var weights = valid.cumsum(1) * valid; // [B, T]
        var total = weights.sum(1, keepdim: true);
        using Scalar none = Kept(0);
        var empty = total.squeeze(1).eq(none);
        if (empty.any().item<bool>())
        {
            throw FeatureReader.Named(batch, empty.cpu(), "No position is valid");
        }

        return (weights / total).unsqueeze(1).bmm(states.masked_fill(valid.logical_not().unsqueeze(2), none)).squeeze(1); // [B, d]
    }
}
