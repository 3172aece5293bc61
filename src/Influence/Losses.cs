using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence;

/// <summary>
/// Per-example losses whose gradient stays exact in float32, also for examples that are fitted well.
/// </summary>
/// <remarks>
/// The usual softmax cross-entropy computes the true class's gradient as p_y - 1, which cancels when p_y is near 1; the
/// remaining digits are noise, and well fitted examples come out in the wrong order. Here that entry is minus the sum of
/// the other probabilities, in the same precision. Any loss of your own works too, with the precision it has.
/// </remarks>
public static class Losses
{
    /// <summary>
    /// Softmax cross-entropy -log softmax(z)_y, written as softplus(logsumexp over j != y of (z_j - z_y)): no term of its
    /// gradient cancels.
    /// </summary>
    /// <param name="logits"><c>[B, C]</c>, or <c>[B, ..., C]</c> with a class at each position.</param>
    /// <param name="targets">int64 class indices 0 to C-1, <c>[B]</c> or <c>[B, ...]</c>.</param>
    /// <param name="mask">
    /// Optional, the shape of <paramref name="targets"/>: positions that are zero (false) do not count; their targets may
    /// be anything, -100 for instance.
    /// </param>
    /// <param name="meanOverPositions">
    /// Divide by the number of positions that count. The default, the sum, weighs long examples more, in proportion to
    /// their length.
    /// </param>
    /// <returns>One loss per example, <c>[B]</c>, in nats.</returns>
    /// <exception cref="InfluenceException">Shapes that do not fit, one class only, a target out of range.</exception>
    public static Tensor CrossEntropy(Tensor logits, Tensor targets, Tensor? mask = null, bool meanOverPositions = false)
    {
        CheckCrossEntropy(logits, targets, mask);
        var counts = mask?.to_type(ScalarType.Bool); // [B, ...]
        var labels =
            LossTrace.Current?.Sampler?.Categorical(logits)
            ?? (counts is null ? targets : targets.masked_fill(counts.logical_not(), Kept(0)));
        CheckLabels(labels, logits.shape[^1]);
        return Traced(logits, z => CrossEntropyOf(z, labels, counts, meanOverPositions));
    }

    /// <summary>
    /// The terms of <see cref="CrossEntropy"/> before its sum over positions, for scores per loss token.
    /// </summary>
    /// <param name="logits"><c>[B, T, C]</c>.</param>
    /// <param name="targets">int64 class indices, <c>[B, T]</c>.</param>
    /// <param name="mask">Optional <c>[B, T]</c>: positions that are zero (false) have loss zero.</param>
    /// <param name="meanOverPositions">Divide each by the number of positions of its example that count.</param>
    /// <returns><c>[B, T]</c>, in nats.</returns>
    /// <exception cref="InfluenceException">Shapes that do not fit, one class only, a target out of range.</exception>
    public static Tensor TokenCrossEntropy(Tensor logits, Tensor targets, Tensor? mask = null, bool meanOverPositions = false)
    {
        CheckCrossEntropy(logits, targets, mask);
        var counts = mask?.to_type(ScalarType.Bool); // [B, T]
        var labels = counts is null ? targets : targets.masked_fill(counts.logical_not(), Kept(0));
        CheckLabels(labels, logits.shape[^1]);
        var loss = TokensOf(logits, labels, counts);
        return !meanOverPositions ? loss
            : counts is null ? loss / Kept(loss.shape[1])
            : loss / counts.sum(1, keepdim: true).clamp_min(Kept(1));
    }

    private static Tensor CrossEntropyOf(Tensor logits, Tensor labels, Tensor? counts, bool meanOverPositions) =>
        ReducePositions(TokensOf(logits, labels, counts), counts, meanOverPositions);

    private static Tensor TokensOf(Tensor logits, Tensor labels, Tensor? counts)
    {
        var index = labels.unsqueeze(-1); // [B, ..., 1]
        var gone = full(index.shape, Kept(double.NegativeInfinity), logits.dtype, logits.device);
        var others = logits.scatter(-1, index, gone); // [B, ..., C], class y gone
        var margin = logits.gather(-1, index).squeeze(-1) - others.logsumexp(-1); // [B, ...], log p_y/(1-p_y)
        var loss = -F.logsigmoid(margin); // [B, ...]
        return counts is null ? loss : loss.masked_fill(counts.logical_not(), Kept(0));
    }

    /// <summary>
    /// Binary cross-entropy on logits, -y log s(z) - (1-y) log s(-z); no term of its gradient cancels.
    /// </summary>
    /// <param name="logits"><c>[B]</c> or <c>[B, ...]</c>.</param>
    /// <param name="targets">Probabilities 0 to 1 of the logits' shape; integers are converted.</param>
    /// <returns>One loss per example, summed over its outputs, <c>[B]</c>, in nats.</returns>
    /// <exception cref="InfluenceException">Shapes that differ, or targets outside 0 to 1.</exception>
    public static Tensor BinaryCrossEntropy(Tensor logits, Tensor targets)
    {
        CheckSameShape(logits, targets);
        var y = targets.to_type(logits.dtype);
        // Named, for TorchSharp keeps no number alive that it is handed: its finaliser may free it while libtorch reads it.
        using Scalar zero = Kept(0),
            one = Kept(1);
        var bad = Positions(y.lt(zero).logical_or(y.gt(one)).logical_or(y.isnan()));
        if (bad.Count > 0)
        {
            throw new InfluenceException("Targets of a binary cross-entropy lie between 0 and 1.") { BatchPositions = bad };
        }

        y = LossTrace.Current?.Sampler?.Bernoulli(logits) ?? y;
        return Traced(logits, Loss);

        Tensor Loss(Tensor z) => ReducePositions(-(y * F.logsigmoid(z)) - ((Kept(1) - y) * F.logsigmoid(-z)), null, mean: false);
    }

    /// <summary>Squared error, the sum over an example's outputs of (prediction - target)^2; no factor one half.</summary>
    /// <param name="predictions"><c>[B]</c> or <c>[B, ...]</c>.</param>
    /// <param name="targets">Of the predictions' shape; integers are converted.</param>
    /// <returns>One loss per example, <c>[B]</c>.</returns>
    /// <exception cref="InfluenceException">Shapes that differ.</exception>
    public static Tensor SquaredError(Tensor predictions, Tensor targets)
    {
        CheckSameShape(predictions, targets);

        // exp(-(prediction - target)^2) is a normal density of variance one half.
        var drawn = LossTrace.Current?.Sampler?.NormalDeviation(predictions, Math.Sqrt(0.5));
        var y = drawn ?? targets.to_type(predictions.dtype);
        var from = drawn is null ? null : predictions.detach();
        return Traced(predictions, Loss);

        Tensor Loss(Tensor z) => ReducePositions(((from is null ? z : z - from) - y).Squared(), null, mean: false);
    }

    /// <summary>
    /// Cross-entropy with label smoothing and class weights, (1-e) w_y (-log p_y) + e/C sum over c of w_c (-log p_c), PyTorch's form;
    /// positions whose target is the ignored index do not count.
    /// </summary>
    /// <remarks>
    /// Its Hessian in the logits is a (diag(p) - pp') with a = (1-e) w_y + e/C sum over c of w_c, whatever the label says beyond its
    /// weight. So for the true Fisher a label k is drawn from p and the gradient is that of sqrt(a) (-log p_k): smoothing a drawn label
    /// would leave a gradient whose mean is not zero.
    /// </remarks>
    /// <param name="logits"><c>[B, C]</c>, or <c>[B, ..., C]</c> with a class at each position.</param>
    /// <param name="targets">int64 class indices 0 to C-1, or the ignored index, <c>[B]</c> or <c>[B, ...]</c>.</param>
    /// <param name="smoothing">e, from 0 to 1.</param>
    /// <param name="classWeights">w, <c>[C]</c>, none negative; null for ones.</param>
    /// <param name="ignoreIndex">The target of positions that do not count.</param>
    /// <param name="meanOverPositions">Divide by the number of positions that count (PyTorch's mean divides by their weights).</param>
    /// <returns>One loss per example, <c>[B]</c>, in nats.</returns>
    /// <exception cref="InfluenceException">Shapes that do not fit, one class only, a target, a weight or a smoothing out of
    /// range.</exception>
    public static Tensor SmoothedCrossEntropy(
        Tensor logits,
        Tensor targets,
        double smoothing,
        Tensor? classWeights = null,
        long ignoreIndex = -100,
        bool meanOverPositions = false
    )
    {
        CheckCrossEntropy(logits, targets, mask: null);
        Check.Share(smoothing, nameof(smoothing));
        var classes = logits.shape[^1];
        var counts = targets.ne(Kept(ignoreIndex)); // [B, ...]
        var labels = targets.masked_fill(counts.logical_not(), Kept(0));
        CheckLabels(labels, classes);
        var weights = classWeights is null ? ones(classes, logits.dtype, logits.device) : ClassWeights(classWeights, logits); // [C]
        var own = weights.index_select(0, labels.reshape(-1)).reshape(labels.shape); // [B, ...], w_y
        if (LossTrace.Current?.Sampler?.Categorical(logits) is { } drawn)
        {
            var scale = ((Kept(1 - smoothing) * own) + (Kept(smoothing) * weights.mean())).sqrt();
            return Traced(
                logits,
                z =>
                    ReducePositions(
                        (scale * TokensOf(z, drawn, null)).masked_fill(counts.logical_not(), Kept(0)),
                        counts,
                        meanOverPositions
                    )
            );
        }

        return Traced(
            logits,
            z =>
            {
                var one = Kept(1 - smoothing) * own * TokensOf(z, labels, null); // [B, ...]
                var all = Kept(smoothing / classes) * -(z.log_softmax(-1) * weights).sum(-1);
                return ReducePositions((one + all).masked_fill(counts.logical_not(), Kept(0)), counts, meanOverPositions);
            }
        );
    }

    /// <summary>
    /// The Kullback-Leibler divergence from a teacher, t^2 sum over c of q_c (log q_c - log p_c) with q and p the softmax of the teacher's
    /// and the model's logits divided by the temperature t: distillation (Hinton, Vinyals, Dean 2015).
    /// </summary>
    /// <remarks>
    /// Its Hessian in the logits is diag(p) - pp' whatever the teacher says. For the true Fisher a label k is drawn from p, and the
    /// gradient is that of t (-log p_k).
    /// </remarks>
    /// <param name="logits">The model's, <c>[B, C]</c> or <c>[B, ..., C]</c>.</param>
    /// <param name="teacherLogits">Of the same shape; no gradient goes there.</param>
    /// <param name="temperature">t, above 0.</param>
    /// <param name="mask">Optional, the logits' shape without the classes: positions that are zero (false) do not count.</param>
    /// <param name="meanOverPositions">Divide by the number of positions that count.</param>
    /// <returns>One loss per example, <c>[B]</c>, in nats.</returns>
    /// <exception cref="InfluenceException">Shapes that differ, one class only, or a temperature that is not above 0.</exception>
    public static Tensor Distillation(
        Tensor logits,
        Tensor teacherLogits,
        double temperature = 1,
        Tensor? mask = null,
        bool meanOverPositions = false
    )
    {
        CheckSameShape(logits, teacherLogits);
        Check.Positive(temperature, nameof(temperature));
        var shape = logits.shape[..^1];
        if (logits.dim() < 2 || logits.shape[^1] < 2 || (mask is not null && !mask.shape.AsSpan().SequenceEqual(shape)))
        {
            throw new InfluenceException(
                "Distillation expects logits [B, ..., C] of at least two classes, and a mask [B, ...]; found logits "
                    + $"[{string.Join(", ", logits.shape)}]"
                    + (mask is null ? "." : $" and a mask [{string.Join(", ", mask.shape)}].")
            );
        }

        var counts = mask?.to_type(ScalarType.Bool); // [B, ...]
        if (LossTrace.Current?.Sampler?.Categorical(logits / Kept(temperature)) is { } drawn)
        {
            return Traced(logits, z => CrossEntropyOf(z / Kept(temperature), drawn, counts, meanOverPositions) * Kept(temperature));
        }

        var teacher = (teacherLogits.detach() / Kept(temperature)).to_type(logits.dtype).log_softmax(-1); // [B, ..., C]
        return Traced(
            logits,
            z =>
            {
                // [B, ...]
                var loss = Kept(temperature * temperature) * (teacher.exp() * (teacher - (z / Kept(temperature)).log_softmax(-1))).sum(-1);
                return ReducePositions(counts is null ? loss : loss.masked_fill(counts.logical_not(), Kept(0)), counts, meanOverPositions);
            }
        );
    }

    /// <summary>
    /// Huber's loss, the sum over an example's outputs of r^2/2 where |r| is at most d, and d (|r| - d/2) beyond, r = prediction - target.
    /// </summary>
    /// <remarks>For the true Fisher targets are drawn from the density proportional to exp(-loss): normal in the middle, with exponential
    /// tails.</remarks>
    /// <param name="predictions"><c>[B]</c> or <c>[B, ...]</c>.</param>
    /// <param name="targets">Of the predictions' shape; integers are converted.</param>
    /// <param name="delta">d, above 0.</param>
    /// <returns>One loss per example, <c>[B]</c>.</returns>
    /// <exception cref="InfluenceException">Shapes that differ, or a delta that is not above 0.</exception>
    public static Tensor Huber(Tensor predictions, Tensor targets, double delta = 1)
    {
        CheckSameShape(predictions, targets);
        Check.Positive(delta, nameof(delta));
        var drawn = LossTrace.Current?.Sampler?.HuberDeviation(predictions, delta);
        var y = drawn ?? targets.to_type(predictions.dtype);
        var from = drawn is null ? null : predictions.detach();
        return Traced(
            predictions,
            z => ReducePositions(F.huber_loss(from is null ? z : z - from, y, delta, nn.Reduction.None), null, mean: false)
        );
    }

    /// <summary>
    /// The loss of direct preference optimisation, -log s(b ((c - c0) - (r - r0))): c and r are the log-likelihoods of the preferred and
    /// the other answer, c0 and r0 those of the reference model (Rafailov et al. 2023).
    /// </summary>
    /// <remarks>
    /// An example is a pair of answers, and its model runs twice, which layer rules take. For the true Fisher the preference is drawn from
    /// s of the margin.
    /// </remarks>
    /// <param name="chosen">c, <c>[B]</c>: minus <see cref="CrossEntropy"/> of the preferred answer, for example.</param>
    /// <param name="rejected">r, <c>[B]</c>.</param>
    /// <param name="referenceChosen">c0, <c>[B]</c>; no gradient goes there.</param>
    /// <param name="referenceRejected">r0, <c>[B]</c>.</param>
    /// <param name="beta">b, above 0.</param>
    /// <returns>One loss per example, <c>[B]</c>, in nats.</returns>
    /// <exception cref="InfluenceException">Shapes that differ, or a beta that is not above 0.</exception>
    public static Tensor Preference(Tensor chosen, Tensor rejected, Tensor referenceChosen, Tensor referenceRejected, double beta = 0.1)
    {
        CheckSameShape(chosen, rejected);
        CheckSameShape(chosen, referenceChosen);
        CheckSameShape(chosen, referenceRejected);
        Check.Positive(beta, nameof(beta));
        var margin = Kept(beta) * (chosen - rejected - (referenceChosen.detach() - referenceRejected.detach()));
        return BinaryCrossEntropy(margin, ones_like(margin));
    }

    /// <summary>
    /// The clipped surrogate of policy gradients, -sum over t of min(r_t A, clip(r_t, 1-e, 1+e) A) with r_t = p(token) / p0(token): PPO's,
    /// and with A an answer's reward less the mean of its group, over its standard deviation, GRPO's (Schulman et al. 2017; Shao et al.
    /// 2024). A term that keeps the policy near a reference is <see cref="Distillation"/> beside it.
    /// </summary>
    /// <remarks>
    /// Its Hessian has either sign, so that it makes no Gauss-Newton matrix. For the true Fisher, which here is the policy's own, tokens
    /// are drawn from p, and the gradient is that of -log p of those.
    /// </remarks>
    /// <param name="logits">The policy's, <c>[B, C]</c> or <c>[B, T, C]</c>.</param>
    /// <param name="tokens">What was done, int64 <c>[B]</c> or <c>[B, T]</c>.</param>
    /// <param name="advantages">A, one an answer <c>[B]</c>, or of the tokens' shape; no gradient goes there.</param>
    /// <param name="oldLogLikelihoods">log p0 of the tokens, of their shape, by the policy that made them; null: the present one's, where r
    /// is 1 and its gradient that of log p.</param>
    /// <param name="clip">e, above 0.</param>
    /// <param name="mask">Optional, of the tokens' shape: positions that are zero (false) do not count.</param>
    /// <param name="meanOverPositions">Divide by the number of positions that count.</param>
    /// <returns>One loss per example, <c>[B]</c>.</returns>
    /// <exception cref="InfluenceException">Shapes that do not fit, a token out of range, or a clip that is not above 0.</exception>
    public static Tensor PolicyGradient(
        Tensor logits,
        Tensor tokens,
        Tensor advantages,
        Tensor? oldLogLikelihoods = null,
        double clip = 0.2,
        Tensor? mask = null,
        bool meanOverPositions = false
    )
    {
        CheckCrossEntropy(logits, tokens, mask);
        ArgumentNullException.ThrowIfNull(advantages);
        Check.Positive(clip, nameof(clip));
        var shape = tokens.shape;
        if (
            !(advantages.shape.AsSpan().SequenceEqual(shape) || advantages.shape.AsSpan().SequenceEqual([shape[0]]))
            || oldLogLikelihoods?.shape.AsSpan().SequenceEqual(shape) == false
        )
        {
            throw new InfluenceException(
                $"Policy gradients expect advantages [B] = [{shape[0]}] or of the tokens' shape [{string.Join(", ", shape)}], and old "
                    + $"log-likelihoods of that shape; found [{string.Join(", ", advantages.shape)}]"
                    + (oldLogLikelihoods is null ? "." : $" and [{string.Join(", ", oldLogLikelihoods.shape)}].")
            );
        }

        var counts = mask?.to_type(ScalarType.Bool); // [B, ...]
        if (LossTrace.Current?.Sampler?.Categorical(logits) is { } drawn)
        {
            return Traced(logits, z => CrossEntropyOf(z, drawn, counts, meanOverPositions));
        }

        var labels = counts is null ? tokens : tokens.masked_fill(counts.logical_not(), Kept(0));
        CheckLabels(labels, logits.shape[^1]);
        var likelihood = -TokensOf(logits, labels, null); // [B, ...]
        var ratio = (likelihood - (oldLogLikelihoods ?? likelihood).detach()).exp();
        var advantage = advantages.detach().to_type(logits.dtype);
        advantage = advantage.reshape([shape[0], .. advantage.dim() == shape.Length ? shape[1..] : shape[1..].Select(_ => 1L)]);
        var loss = -minimum(ratio * advantage, ratio.clamp(Kept(1 - clip), Kept(1 + clip)) * advantage);
        return ReducePositions(counts is null ? loss : loss.masked_fill(counts.logical_not(), Kept(0)), counts, meanOverPositions);
    }

    private static Tensor ClassWeights(Tensor weights, Tensor logits)
    {
        if (
            weights.dim() != 1
            || weights.shape[0] != logits.shape[^1]
            || !weights.is_floating_point()
            || !weights.isfinite().logical_and(weights.ge(Kept(0))).all().item<bool>()
        )
        {
            throw new InfluenceException(
                $"Class weights are [C] = [{logits.shape[^1]}], floating-point, finite and none negative; found {weights.dtype} "
                    + $"[{string.Join(", ", weights.shape)}]."
            );
        }

        return weights.detach().to_type(logits.dtype);
    }

    private static Tensor Traced(Tensor outputs, Func<Tensor, Tensor> loss)
    {
        var value = loss(outputs);
        LossTrace.Current?.Add(outputs, loss, value);
        return value;
    }

    private static Tensor ReducePositions(Tensor loss, Tensor? counts, bool mean)
    {
        if (loss.dim() == 1)
        {
            return loss;
        }

        var flat = loss.reshape(loss.shape[0], -1); // [B, T]
        var sum = flat.sum(1); // [B]
        if (!mean)
        {
            return sum;
        }

        return counts is null ? sum / Kept(flat.shape[1]) : sum / counts.reshape(loss.shape[0], -1).sum(1).clamp_min(Kept(1));
    }

    private static void CheckCrossEntropy(Tensor logits, Tensor targets, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(targets);
        if (logits.dim() < 2 || !logits.shape.AsSpan(0, logits.shape.Length - 1).SequenceEqual(targets.shape))
        {
            throw new InfluenceException(
                $"Cross-entropy expects logits [B, C] with targets [B], or logits [B, T, C] with targets [B, T]; found "
                    + $"logits [{string.Join(", ", logits.shape)}] and targets [{string.Join(", ", targets.shape)}]."
            );
        }

        if (targets.dtype != ScalarType.Int64)
        {
            throw new InfluenceException(
                $"Cross-entropy expects class indices of type Int64, found {targets.dtype}. Write targets.to_type(ScalarType.Int64)."
            );
        }

        if (logits.shape[^1] < 2)
        {
            throw new InfluenceException(
                "Cross-entropy needs at least two classes: with one it is always zero. For one logit use Losses.BinaryCrossEntropy."
            );
        }

        if (mask is not null && !mask.shape.SequenceEqual(targets.shape))
        {
            throw new InfluenceException(
                $"The mask has the shape of the targets, [{string.Join(", ", targets.shape)}]; found [{string.Join(", ", mask.shape)}]."
            );
        }
    }

    private static void CheckLabels(Tensor labels, long classes)
    {
        // Named, for TorchSharp keeps no number alive that it is handed: its finaliser may free it while libtorch reads it.
        using Scalar zero = Kept(0),
            limit = Kept(classes);
        var bad = Positions(labels.lt(zero).logical_or(labels.ge(limit)));
        if (bad.Count > 0)
        {
            throw new InfluenceException(
                $"Class indices go from 0 to {classes - 1} (the logits have {classes} classes); some targets lie outside."
            )
            {
                BatchPositions = bad,
            };
        }
    }

    private static void CheckSameShape(Tensor predictions, Tensor targets)
    {
        ArgumentNullException.ThrowIfNull(predictions);
        ArgumentNullException.ThrowIfNull(targets);
        if (predictions.dim() == 0 || !predictions.shape.SequenceEqual(targets.shape))
        {
            throw new InfluenceException(
                $"Predictions and targets need the same shape [B, ...]; found [{string.Join(", ", predictions.shape)}] and "
                    + $"[{string.Join(", ", targets.shape)}]."
            );
        }
    }

    /// <summary>Positions in the batch where any element of the example is true.</summary>
    private static List<int> Positions(Tensor flags)
    {
        if (!flags.any().item<bool>())
        {
            return [];
        }

        var rows = flags.reshape(flags.shape[0], -1).any(1).to_type(ScalarType.Int64).cpu().data<long>().ToArray();
        return [.. Enumerable.Range(0, rows.Length).Where(i => rows[i] != 0)];
    }
}
