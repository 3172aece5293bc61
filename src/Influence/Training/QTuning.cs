using System.Globalization;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Q-Tuning's plane of error and uncertainty: which examples of a batch to train on, and which of their tokens. An example's error is its
/// perplexity e, its uncertainty the mean entropy u of the predictions:
/// <code>
/// high e, low u    a misconception     kept, without the tokens that fit worst
/// low e,  high u   calibration         kept whole
/// high e, high u   noise               dropped
/// low e,  low u    known               dropped
/// </code>
/// In the loop: <c>using var kept = pruning.Apply(losses, QTuning.Entropies(logits), mask); ((losses * kept.Mask).sum() /
/// kept.Mask.sum().clamp_min(1)).backward();</c>
/// </summary>
/// <remarks>
/// <para>
/// High and low are above the quantile 1 - a and below the quantile a of the batch, with a as large as makes <see cref="SampleShare"/> of
/// the batch one of the two that are kept; the paper finds it by bisection between 0 and 1/2, here each example's own a, at which it would
/// enter, is sorted, which is the same. Where error and uncertainty go together too few examples may be left even at 1/2; then fewer are
/// kept, and it may be none: the mask's sum is then 0, which <c>clamp_min(1)</c> keeps out of the division.
/// </para>
/// <para>
/// A token's score is <c>(1 - l) PPL_t + l (mean of its neighbours' PPL)</c>, and those with the highest scores do not count until
/// <see cref="TokenShare"/> remain. The paper's equation has the neighbours' sum (<see cref="SumsNeighbours"/>), a published
/// re-implementation their mean. Reference: "Winning the Pruning Gamble: A Unified Approach to Joint Sample and Token Pruning for Efficient
/// Supervised Fine-Tuning", 2025 (arXiv 2509.23873).
/// </para>
/// </remarks>
public sealed record QTuning
{
    /// <summary>The share of a batch that is looked for, rounded, at least one; none may be found (see remarks).</summary>
    /// <value>An eighth.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double SampleShare
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.125;

    /// <summary>The share of the tokens of a misconception that is kept, rounded up.</summary>
    /// <value>One half.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double TokenShare
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.5;

    /// <summary>l: how much a token's neighbours count in its score.</summary>
    /// <value>One half.</value>
    /// <exception cref="InfluenceException">Not in 0 to 1.</exception>
    public double Smoothing
    {
        get;
        init => field = Check.Share(value);
    } = 0.5;

    /// <summary>Whether the neighbours' sum counts, as the paper prints it, and not their mean.</summary>
    /// <value>False.</value>
    public bool SumsNeighbours { get; init; }

    /// <summary>The entropy of each prediction, -sum over c of p_c log p_c.</summary>
    /// <param name="logits"><c>[B, T, C]</c>.</param>
    /// <returns><c>[B, T]</c>, detached, in nats; the caller's.</returns>
    /// <exception cref="InfluenceException">Another shape.</exception>
    public static Tensor Entropies(Tensor logits)
    {
        ArgumentNullException.ThrowIfNull(logits);
        if (logits.dim() != 3 || !logits.is_floating_point())
        {
            throw new InfluenceException($"Logits are floating point [B, T, C]; found {logits.dtype} [{string.Join(", ", logits.shape)}].");
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var logs = logits.detach().log_softmax(-1); // [B, T, C]
        return (-(logs.exp() * logs.masked_fill(logs.isinf(), Kept(0))).sum(-1)).MoveToOuterDisposeScope();
    }

    /// <summary>Says which tokens of a batch count.</summary>
    /// <param name="losses">The loss of each token, <c>[B, T]</c>; its graph is left alone.</param>
    /// <param name="entropies">The entropy of each prediction, <c>[B, T]</c>: of <see cref="Entropies"/>.</param>
    /// <param name="mask">Which tokens there are, <c>[B, T]</c>; null: all.</param>
    /// <returns>The tokens that count; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Shapes that differ, an example without tokens, or numbers that are not finite.</exception>
    public Pruned Apply(Tensor losses, Tensor entropies, Tensor? mask = null)
    {
        ArgumentNullException.ThrowIfNull(losses);
        ArgumentNullException.ThrowIfNull(entropies);
        if (
            losses.dim() != 2
            || losses.shape[0] == 0
            || !losses.is_floating_point()
            || !entropies.shape.SequenceEqual(losses.shape)
            || (mask is not null && !mask.shape.SequenceEqual(losses.shape))
        )
        {
            throw new InfluenceException(
                $"Losses, entropies and the mask are [B, T], one number a token; found [{string.Join(", ", losses.shape)}], "
                    + $"[{string.Join(", ", entropies.shape)}]"
                    + (mask is null ? "." : $" and [{string.Join(", ", mask.shape)}].")
            );
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var (count, length) = ((int)losses.shape[0], (int)losses.shape[1]);
        var (loss, entropy) = (Rows(losses), Rows(entropies));
        var there = mask is null
            ? [.. Enumerable.Repeat(true, count * length)]
            : mask.to_type(ScalarType.Bool).cpu().contiguous().data<bool>().ToArray();
        int[][] tokens =
        [
            .. Enumerable.Range(0, count).Select(i => Enumerable.Range(0, length).Where(t => there[(i * length) + t]).ToArray()),
        ];
        if (tokens.Any(own => own.Length == 0))
        {
            throw new InfluenceException("Every example has a token that counts; at least one has none.");
        }

        double[] Means(double[] values) => [.. tokens.Select((own, i) => own.Average(t => values[(i * length) + t]))];

        var (e, u) = (Means(loss), Means(entropy));
        if (e.Concat(u).Any(value => !double.IsFinite(value)))
        {
            throw new InfluenceException("Losses and entropies are finite; found some that are not.");
        }

        var regions = Regions(e, u);
        var keep = new bool[count * length];
        for (var i = 0; i < count; i++)
        {
            var own = regions[i] switch
            {
                Region.Calibration => tokens[i],
                Region.Misconception => Best(tokens[i], t => Math.Exp(loss[(i * length) + t])),
                _ => [],
            };
            foreach (var t in own)
            {
                keep[(i * length) + t] = true;
            }
        }

        var kept = tensor(keep, device: losses.device).reshape(count, length); // [B, T]
        return new Pruned(kept.DetachFromDisposeScope(), regions);
    }

    /// <summary>The settings.</summary>
    /// <returns>The settings in words.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"Q-Tuning {{ SampleShare = {SampleShare}, TokenShare = {TokenShare}, Smoothing = {Smoothing}, "
                + $"SumsNeighbours = {SumsNeighbours} }}"
        );

    private static double[] Rows(Tensor values) => values.detach().to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();

    /// <summary>The share of the values below, with half of its equals, itself among them: 0 to 1, the middle of the batch at one
    /// half.</summary>
    private static double[] Places(double[] values) => [.. Ranks.Of(values).Select(rank => (rank - 0.5) / values.Length)];

    private Region[] Regions(double[] e, double[] u)
    {
        var (error, uncertainty) = (Places(e), Places(u));
        var entries = e.Select(
                (_, i) =>
                {
                    // The smallest a at which e is among the a highest and u among the a lowest, and the other way round.
                    var misconception = Math.Max(1 - error[i], uncertainty[i]);
                    var calibration = Math.Max(error[i], 1 - uncertainty[i]);
                    return misconception <= calibration ? (Region.Misconception, misconception) : (Region.Calibration, calibration);
                }
            )
            .ToArray();
        var room = Math.Max(1, (int)Math.Round(SampleShare * e.Length, MidpointRounding.AwayFromZero));
        var chosen = Enumerable
            .Range(0, e.Length)
            .Where(i => entries[i].Item2 <= 0.5)
            .OrderBy(i => entries[i].Item2)
            .Take(room)
            .ToHashSet();
        return
        [
            .. entries.Select(
                (entry, i) =>
                    chosen.Contains(i) ? entry.Item1
                    : error[i] + uncertainty[i] > 1 ? Region.Noise
                    : Region.Known
            ),
        ];
    }

    private int[] Best(int[] tokens, Func<int, double> perplexity)
    {
        double[] p = [.. tokens.Select(perplexity)];
        var scores = new double[p.Length];
        for (var t = 0; t < p.Length; t++)
        {
            double[] neighbours = [.. t > 0 ? [p[t - 1]] : Array.Empty<double>(), .. t + 1 < p.Length ? [p[t + 1]] : Array.Empty<double>()];
            var around =
                neighbours.Length == 0 ? p[t]
                : SumsNeighbours ? neighbours.Sum()
                : neighbours.Average();
            scores[t] = ((1 - Smoothing) * p[t]) + (Smoothing * around);
        }

        return
        [
            .. Enumerable.Range(0, p.Length).OrderBy(t => scores[t]).Take((int)Math.Ceiling(TokenShare * p.Length)).Select(t => tokens[t]),
        ];
    }

    /// <summary>Where an example lies in the plane; what is not chosen counts to the nearer of the two that are dropped.</summary>
    public enum Region
    {
        /// <summary>Neither error nor uncertainty: dropped.</summary>
        Known,

        /// <summary>Error and uncertainty: dropped.</summary>
        Noise,

        /// <summary>Error without uncertainty: kept, with some of its tokens.</summary>
        Misconception,

        /// <summary>Uncertainty without error: kept whole.</summary>
        Calibration,
    }

    /// <summary>The tokens that count.</summary>
    public sealed class Pruned : IDisposable
    {
        internal Pruned(Tensor mask, IReadOnlyList<Region> regions) => (Mask, Regions) = (mask, regions);

        /// <summary>True for tokens to train on, <c>[B, T]</c>, on the losses' device. It belongs to this object.</summary>
        public Tensor Mask { get; }

        /// <summary>Where each example lies.</summary>
        public IReadOnlyList<Region> Regions { get; }

        /// <summary>Frees the mask.</summary>
        public void Dispose() => Mask.Dispose();
    }
}
