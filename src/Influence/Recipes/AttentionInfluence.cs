using System.Globalization;
using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// AttentionInfluence: which documents a model reads by its retrieval heads, a training-free score for data that exercises them. The heads
/// that copy are found on a synthetic task, the strongest <see cref="MaskedShare"/> of them are masked, and a document's score is what
/// it then loses:
/// <code>score(x) = (L_masked(x) - L(x)) / L(x)</code>
/// with L the task's training loss. High = the document needs the heads. Two forward passes a document, no gradient.
/// </summary>
/// <remarks>
/// <para>
/// A masked head's attention is uniform over the positions that the model's own mask leaves, 1/L as in the paper. For native modules
/// (<c>nn.MultiheadAttention</c>, <c>nn.TransformerEncoder</c> and its layers), found without being named, the attention is recomputed; for
/// separate projections, named by <see cref="Layers"/>, the head's part of the query is set to zero as it leaves its projection, which
/// makes its logits equal. Rotary positions leave a zero as it is, and so does a norm of the queries without bias. What the model adds to
/// the logits beside the mask (ALiBi, relative biases, a norm with bias on the queries) stays: the attention is then the softmax of that
/// alone. With grouped queries each query head is one of its own.
/// </para>
/// <para>
/// With <see cref="RetrievalHeads.Kind.Attention"/> a head's strongest attention is taken from the outputs of its query and key projections
/// (the scale does not matter), or from the recomputation. Positions that enter after the projections (rotary) cannot be seen there: write
/// <c>Retrieval = RetrievalHeads.Kind.MaskedLoss</c>. A head is masked only if it points to the copied tokens <see cref="TimesChance"/>
/// times as often as chance, or the loss on them rises without it. However the heads were found, they are put to the proof: without them
/// the loss on the copied tokens must rise by <see cref="LeastCopyRise"/>, clearly beyond the spread of the probes, and with them it must
/// be below that of a guess within the vocabulary.
/// </para>
/// <para>
/// The score is relative, so it does not matter whether the loss is a sum or a mean over tokens. It may be negative. Scores of unlike
/// domains do not compare: rank within groups (<see cref="AttentionInfluence.Result.WithinGroups"/>). The paper keeps the top 20 percent.
/// Cost: two forward passes over the documents, three over the probes (and one for each head with
/// <see cref="RetrievalHeads.Kind.MaskedLoss"/>). Half precision will do for the model; let its losses be computed in float32, as their
/// difference is small. Reference: Hua et al., "AttentionInfluence: Adopting Attention Head Influence for Weak-to-Strong Pretraining Data
/// Selection", 2025; one of its figures appears to divide by a reference loss, its equation by the model's own, which is taken here.
/// </para>
/// </remarks>
public sealed partial record AttentionInfluence
{
    /// <summary>
    /// The model on token ids: from <c>[B, T]</c>, int64 and on the model's device, to logits <c>[B, T, V]</c>; for a model of batches
    /// first, <c>tokens => model.call(tokens)</c>. Used on the probes only.
    /// </summary>
    public required Func<Tensor, Tensor> Logits { get; init; }

    /// <summary>The copy task.</summary>
    public required AttentionInfluence.KeyValueProbes Probes { get; init; }

    /// <summary>
    /// The attention layers with separate projections, each once. Native modules are found without; of those that cannot be recomputed the
    /// scores' notes tell.
    /// </summary>
    /// <value>None.</value>
    public IReadOnlyList<Projections> Layers { get; init; } = [];

    /// <summary>Whether a position of the layers with separate projections sees no later ones; for
    /// <see cref="RetrievalHeads.Kind.Attention"/>.</summary>
    /// <value>True.</value>
    public bool Causal { get; init; } = true;

    /// <summary>How it is found out which heads copy.</summary>
    /// <value><see cref="RetrievalHeads.Kind.Attention"/>.</value>
    public RetrievalHeads.Kind Retrieval
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>The share of all heads that is masked, rounded down, at least one.</summary>
    /// <value>0.05.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double MaskedShare
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.05;

    /// <summary>How often, in multiples of chance (1 over the length of the probes), a head must point to the copied tokens to be masked;
    /// for <see cref="RetrievalHeads.Kind.Attention"/>.</summary>
    /// <value>3.</value>
    /// <exception cref="InfluenceException">Negative or not a number.</exception>
    public double TimesChance
    {
        get;
        init => field = Check.NotNegative(value);
    } = 3;

    /// <summary>How much the loss on the copied tokens must rise without the heads, in nats a token.</summary>
    /// <value>0.05.</value>
    /// <exception cref="InfluenceException">Negative or not a number.</exception>
    public double LeastCopyRise
    {
        get;
        init => field = Check.NotNegative(value);
    } = 0.05;

    /// <summary>The least that a document's change of loss is divided by; for documents without a token that counts, whose loss is
    /// zero.</summary>
    /// <value>1e-6.</value>
    /// <exception cref="InfluenceException">Not a positive number.</exception>
    public double LeastLoss
    {
        get;
        init => field = Check.Positive(value);
    } = 1e-6;

    /// <summary>Finds the heads that copy.</summary>
    /// <param name="task">The model, in evaluation mode; left as it was found.</param>
    /// <param name="progress">Told after each part of the probes.</param>
    /// <param name="cancellationToken">Checked between parts.</param>
    /// <returns>Every head with its score, the strongest first.</returns>
    /// <exception cref="InfluenceException">Bad input, or attention that cannot be seen.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public RetrievalHeads FindHeads(
        InfluenceTask task,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (_, device) = CheckTask(task);
        using var claim = ModelInUse.Claim(task.Model);
        using var watch = new AttentionWatch(task, Layers, Causal);
        var probes = Probes.Make(device);
        var passes = Retrieval == RetrievalHeads.Kind.Attention ? 1 : 1 + watch.CountHeads(probes, Logits);
        using var reporter = new ProgressReporter(progress, "retrieval heads", 1, (long)passes * probes.Count, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        var scores =
            Retrieval == RetrievalHeads.Kind.Attention
                ? watch.Pointing(probes, Logits, reporter.AddOrCancel)
                : watch.MaskedLoss(probes, Logits, reporter.AddOrCancel);
        return new RetrievalHeads(Retrieval, scores);
    }

    /// <summary>Finds the heads that copy, masks the strongest, and scores every document.</summary>
    /// <param name="task">The model, in evaluation mode, and its loss; left as it was found.</param>
    /// <param name="documents">N documents.</param>
    /// <param name="groups">Their domains, each document in one; null: they are one domain.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The scores, their ranks within groups, and the heads.</returns>
    /// <exception cref="InfluenceException">Bad input, attention that cannot be seen, a model that does not copy on the probes, or does so
    /// without the heads that were found.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Score(
        InfluenceTask task,
        Examples documents,
        ExampleGroups? groups = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (documents, "documents"));
        Result.CheckGroups(documents.Ids, groups);
        var heads = FindHeads(task, progress, cancellationToken);
        var least = Retrieval == RetrievalHeads.Kind.Attention ? TimesChance / Probes.Length : 0;
        RetrievalHeads.Head[] masked = [.. heads.Top(MaskedShare).Take(heads.Count(h => h.Score > least))];
        if (masked.Length == 0)
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"None of the {heads.Count} heads copies on the probes (the highest score is {heads[0].Score:G3}; more than "
                        + $"{least:G3} is expected), so there is nothing to mask. {Advice()}"
                )
            );
        }

        var proof = Prove(task, masked, progress, cancellationToken);
        var note = string.Create(CultureInfo.InvariantCulture, $"highest retrieval score {heads[0].Score:G3}; {proof}");
        return new Result(ScoreMasked(task, documents, masked, note, progress, cancellationToken), groups, heads, masked);
    }

    /// <summary>Scores every document by the loss without some heads. Without none of them every score is exactly zero.</summary>
    /// <param name="task">The model, in evaluation mode, and its loss; left as it was found.</param>
    /// <param name="documents">N documents.</param>
    /// <param name="heads">The heads to mask.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One score a document.</returns>
    /// <exception cref="InfluenceException">Bad input, a head that is not there, or a negative loss.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public ExampleScores ScoreMasked(
        InfluenceTask task,
        Examples documents,
        IReadOnlyCollection<RetrievalHeads.Head> heads,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    ) => ScoreMasked(task, documents, heads, string.Empty, progress, cancellationToken);

    private ExampleScores ScoreMasked(
        InfluenceTask task,
        Examples documents,
        IReadOnlyCollection<RetrievalHeads.Head> heads,
        string note,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    )
    {
        ExampleChecks.Run(task, (documents, "documents"));
        ArgumentNullException.ThrowIfNull(heads);
        using var whole = NewDisposeScope();
        using var noGrad = no_grad();
        var (dtype, device) = CheckTask(task);
        using var claim = ModelInUse.Claim(task.Model);
        using var watch = new AttentionWatch(task, Layers, Causal);
        var losses = new LossEvaluator(task, dtype, device);
        using var reporter = new ProgressReporter(progress, "attention influence", 1, documents.Count, cancellationToken);
        var (values, floored) = (new List<double>(documents.Count), new List<long>());
        foreach (var batch in documents.Batches())
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            watch.Mask([]);
            var before = Losses(losses, batch);
            watch.Mask(heads);
            var after = Losses(losses, batch);
            for (var i = 0; i < batch.Count; i++)
            {
                if (before[i] < 0)
                {
                    throw new InfluenceException(
                        "A relative difference needs a loss that is not negative; that of the example with id "
                            + $"{batch.Ids[i]} is {before[i].ToString("G4", CultureInfo.InvariantCulture)}."
                    )
                    {
                        ExampleIds = [batch.Ids[i]],
                    };
                }

                if (before[i] < LeastLoss)
                {
                    floored.Add(batch.Ids[i]);
                }

                values.Add((after[i] - before[i]) / Math.Max(before[i], LeastLoss));
            }

            reporter.Add(batch.Count);
        }

        Log.Scored(task.Logger, "AttentionInfluence", 1, documents.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "AttentionInfluence",
            documents.Ids,
            [.. values],
            new ScoreMetadata
            {
                Estimator = "AttentionInfluence",
                Sign = "high = the document needs the masked heads; compare within one domain only",
                Unit = "rise of the loss without the heads, over the loss",
                Notes = ScoreMetadata.Joined(Notes()),
            }
        );

        IEnumerable<string> Notes() =>
            [
                $"{heads.Count} heads masked: {InfluenceException.List([.. heads])}",
                note,
                watch.LeftOut.Count == 0
                    ? string.Empty
                    : $"attention that could not be looked at: {InfluenceException.List(watch.LeftOut)}",
                floored.Count == 0
                    ? string.Empty
                    : string.Create(
                        CultureInfo.InvariantCulture,
                        $"{floored.Count} documents have a loss below {LeastLoss:R}, which their change was divided "
                            + $"by: ids {InfluenceException.List(floored)}"
                    ),
            ];
    }

    /// <summary>Whether the heads are those by which the model copies: what the loss on the copied tokens is with and without
    /// them.</summary>
    private string Prove(
        InfluenceTask task,
        IReadOnlyList<RetrievalHeads.Head> heads,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    )
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (_, device) = CheckTask(task);
        using var claim = ModelInUse.Claim(task.Model);
        using var watch = new AttentionWatch(task, Layers, Causal);
        var probes = Probes.Make(device);
        using var reporter = new ProgressReporter(progress, "copying without the heads", 1, 2L * probes.Count, cancellationToken);
        var before = AttentionWatch.CopyLosses(probes, Logits, reporter.AddOrCancel);
        watch.Mask(heads);
        var after = AttentionWatch.CopyLosses(probes, Logits, reporter.AddOrCancel);
        double[] rises = [.. after.Zip(before, (a, b) => a - b)];
        var (rise, guess) = (rises.Average(), Math.Log(Probes.Vocabulary.Count));
        var error = Math.Sqrt(rises.Average(r => (r - rise) * (r - rise)) / rises.Length);
        if (!(before.Average() < guess))
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The model does not copy: its loss on the probes' copied tokens is {before.Average():G3} nats a token, that of "
                        + $"a guess within their vocabulary {guess:G3}. {Advice()}"
                )
            );
        }

        return rise > Math.Max(LeastCopyRise, 3 * error)
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"without the heads the loss on copied tokens rises from {before.Average():G3} to {after.Average():G3} nats a token"
            )
            : throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The heads that seem to copy do not: without {InfluenceException.List(heads)} the loss on the probes' copied "
                        + $"tokens goes from {before.Average():G3} to {after.Average():G3} nats a token (standard error {error:G2}), and "
                        + $"should rise by {LeastCopyRise:G3} at least. {Advice()}"
                )
            );
    }

    private string Advice() =>
        "Are the probes' tokens and separators those that the model knows?"
        + (
            Retrieval == RetrievalHeads.Kind.MaskedLoss
                ? string.Empty
                : " With rotary positions or ALiBi write Retrieval = RetrievalHeads.Kind.MaskedLoss."
        );

    private static double[] Losses(LossEvaluator losses, ExampleBatch batch) =>
        losses.Evaluate(batch, LossKind.Training).to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();

    /// <summary>Needs no trainable parameter: a frozen model is scored too.</summary>
    private (ScalarType Dtype, Device Device) CheckTask(InfluenceTask task)
    {
        ArgumentNullException.ThrowIfNull(Logits);
        ArgumentNullException.ThrowIfNull(Probes);
        ArgumentNullException.ThrowIfNull(Layers);
        var parameters = ModelParameter.ForForward(task.Model);
        ModelChecks.Run(task.Model, parameters);
        return (parameters[0].Value.dtype, parameters[0].Value.device);
    }
}
