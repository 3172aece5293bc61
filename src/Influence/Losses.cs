using TorchSharp;
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
        var counts = mask?.to_type(ScalarType.Bool);                                    // [B, ...]
        var labels = LossTrace.Current?.Sampler?.Categorical(logits)
            ?? (counts is null ? targets : targets.masked_fill(counts.logical_not(), 0));
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
        var counts = mask?.to_type(ScalarType.Bool);                                    // [B, T]
        var labels = counts is null ? targets : targets.masked_fill(counts.logical_not(), 0);
        CheckLabels(labels, logits.shape[^1]);
        var loss = TokensOf(logits, labels, counts);
        return !meanOverPositions ? loss
            : counts is null ? loss / loss.shape[1]
            : loss / counts.sum(1, keepdim: true).clamp_min(1);
    }

    private static Tensor CrossEntropyOf(Tensor logits, Tensor labels, Tensor? counts, bool meanOverPositions) =>
        ReducePositions(TokensOf(logits, labels, counts), counts, meanOverPositions);

    private static Tensor TokensOf(Tensor logits, Tensor labels, Tensor? counts)
    {
        var index = labels.unsqueeze(-1);                                               // [B, ..., 1]
        var gone = full(index.shape, double.NegativeInfinity, logits.dtype, logits.device);
        var others = logits.scatter(-1, index, gone);                                   // [B, ..., C], class y gone
        var margin = logits.gather(-1, index).squeeze(-1) - others.logsumexp(-1);       // [B, ...], log p_y/(1-p_y)
        var loss = -F.logsigmoid(margin);                                               // [B, ...]
        return counts is null ? loss : loss.masked_fill(counts.logical_not(), 0);
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
        using Scalar zero = 0, one = 1;
        var bad = Positions(y.lt(zero).logical_or(y.gt(one)).logical_or(y.isnan()));
        if (bad.Count > 0)
        {
            throw new InfluenceException("Targets of a binary cross-entropy lie between 0 and 1.") { BatchPositions = bad };
        }

        y = LossTrace.Current?.Sampler?.Bernoulli(logits) ?? y;
        return Traced(logits, Loss);

        Tensor Loss(Tensor z) => ReducePositions(-(y * F.logsigmoid(z)) - ((1 - y) * F.logsigmoid(-z)), null, mean: false);
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
        var y = LossTrace.Current?.Sampler?.Normal(predictions, Math.Sqrt(0.5)) ?? targets.to_type(predictions.dtype);
        return Traced(predictions, Loss);

        Tensor Loss(Tensor z) => ReducePositions((z - y).Squared(), null, mean: false);
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

        var flat = loss.reshape(loss.shape[0], -1);                                     // [B, T]
        var sum = flat.sum(1);                                                          // [B]
        if (!mean)
        {
            return sum;
        }

        return counts is null
            ? sum / flat.shape[1]
            : sum / counts.reshape(loss.shape[0], -1).sum(1).clamp_min(1);
    }

    private static void CheckCrossEntropy(Tensor logits, Tensor targets, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(targets);
        if (logits.dim() < 2 || !logits.shape.AsSpan(0, logits.shape.Length - 1).SequenceEqual(targets.shape))
        {
            throw new InfluenceException(
                $"Cross-entropy expects logits [B, C] with targets [B], or logits [B, T, C] with targets [B, T]; found " +
                $"logits [{string.Join(", ", logits.shape)}] and targets [{string.Join(", ", targets.shape)}].");
        }

        if (targets.dtype != ScalarType.Int64)
        {
            throw new InfluenceException(
                $"Cross-entropy expects class indices of type Int64, found {targets.dtype}. Write targets.to_type(ScalarType.Int64).");
        }

        if (logits.shape[^1] < 2)
        {
            throw new InfluenceException(
                "Cross-entropy needs at least two classes: with one it is always zero. For one logit use Losses.BinaryCrossEntropy.");
        }

        if (mask is not null && !mask.shape.SequenceEqual(targets.shape))
        {
            throw new InfluenceException(
                $"The mask has the shape of the targets, [{string.Join(", ", targets.shape)}]; found [{string.Join(", ", mask.shape)}].");
        }
    }

    private static void CheckLabels(Tensor labels, long classes)
    {
        // Named, for TorchSharp keeps no number alive that it is handed: its finaliser may free it while libtorch reads it.
        using Scalar zero = 0, limit = classes;
        var bad = Positions(labels.lt(zero).logical_or(labels.ge(limit)));
        if (bad.Count > 0)
        {
            throw new InfluenceException(
                $"Class indices go from 0 to {classes - 1} (the logits have {classes} classes); some targets lie outside.")
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
                $"Predictions and targets need the same shape [B, ...]; found [{string.Join(", ", predictions.shape)}] and " +
                $"[{string.Join(", ", targets.shape)}].");
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
