using System.Globalization;
using Influence.Display;
using Influence.Evaluation;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Memorisation;

/// <summary>
/// Whether a language model recites a text: from its first k tokens, greedy decoding gives the next k' ones, and what counts is at how many
/// positions they are the text's own. All of them is recitation.
/// </summary>
/// <remarks>
/// Of equal logits the lowest token is taken. Cost: k' forward passes over at most k + k' tokens of each text. References: Carlini et al.,
/// "Quantifying Memorization", ICLR 2023; Biderman et al., "Emergent and Predictable Memorization", NeurIPS 2023, with k = k' = 32.
/// </remarks>
public sealed record Recitation
{
    /// <summary>k.</summary>
    /// <value>32.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int PrefixLength
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 32;

    /// <summary>k'.</summary>
    /// <value>32.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int SuffixLength
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 32;

    /// <summary>Texts that are decoded at once. Memory and speed only.</summary>
    /// <value>64.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int BatchSize
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 64;

    /// <summary>How intervals are made: over texts.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Decodes.</summary>
    /// <param name="logits">From tokens <c>[B, T]</c>, int64, to logits <c>[B, T, V]</c>: <c>model.call</c>, in evaluation mode.</param>
    /// <param name="tokens">The texts, int64 <c>[N, T]</c> with T at least k + k'; what lies behind is not looked at. They stay the
    /// caller's.</param>
    /// <param name="ids">The texts' ids; null: 0, 1, 2, ...</param>
    /// <param name="cancellationToken">Checked before each forward pass.</param>
    /// <returns>How much of each text came out.</returns>
    /// <exception cref="InfluenceException">Texts that are too short or of another type, or logits of another shape or that are no
    /// numbers.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Result Test(
        Func<Tensor, Tensor> logits,
        Tensor tokens,
        IReadOnlyList<long>? ids = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(tokens);
        var length = PrefixLength + SuffixLength;
        if (tokens.dtype != ScalarType.Int64 || tokens.dim() != 2 || tokens.shape[0] == 0 || tokens.shape[1] < length)
        {
            throw new InfluenceException(
                $"Texts are tokens int64 [N, T] with T of at least PrefixLength + SuffixLength = {length}; found {tokens.dtype} "
                    + $"[{string.Join(", ", tokens.shape)}]. Leave shorter texts out, or write shorter lengths."
            );
        }

        ids ??= [.. Enumerable.Range(0, (int)tokens.shape[0]).Select(i => (long)i)];
        if (ids.Count != tokens.shape[0] || ids.Distinct().Count() != ids.Count)
        {
            throw new InfluenceException($"There is one id for each text, none twice; found {ids.Count} ids for {tokens.shape[0]} texts.");
        }

        using var noGrad = no_grad();
        var shares = new List<double>();
        for (long first = 0; first < tokens.shape[0]; first += BatchSize)
        {
            using var scope = NewDisposeScope();
            var texts = tokens.narrow(0, first, Math.Min(BatchSize, tokens.shape[0] - first)); // [B, T]
            var decoded = texts.narrow(1, 0, PrefixLength); // [B, k]
            for (var step = 0; step < SuffixLength; step++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                decoded = cat([decoded, Next(logits(decoded), decoded).unsqueeze(1)], 1); // [B, k + step + 1]
            }

            var equal = decoded.narrow(1, PrefixLength, SuffixLength).eq(texts.narrow(1, PrefixLength, SuffixLength)); // [B, k']
            shares.AddRange(equal.to_type(ScalarType.Float64).mean([1L]).cpu().data<double>().ToArray());
        }

        return new Result(this, [.. ids], [.. shares]);
    }

    /// <summary>Whether texts that an earlier checkpoint (or a smaller model) recites are those that a later one recites.</summary>
    /// <param name="earlier">What the earlier one recites: the forecast.</param>
    /// <param name="later">What the later one recites: the truth, on the same texts.</param>
    /// <returns>Precision and recall of the forecast.</returns>
    /// <exception cref="InfluenceException">Other texts.</exception>
    public Comparison Compare(Result earlier, Result later)
    {
        ArgumentNullException.ThrowIfNull(earlier);
        ArgumentNullException.ThrowIfNull(later);
        if (!earlier.Ids.SequenceEqual(later.Ids))
        {
            throw new InfluenceException("A forecast is compared on the same texts in the same order; the ids of the two results differ.");
        }

        double[] Part(IReadOnlyList<bool> given, IReadOnlyList<bool> what) =>
            [.. given.Zip(what).Where(pair => pair.First).Select(pair => pair.Second ? 1.0 : 0.0)];
        return new Comparison(
            Bootstrap.Mean("recited later", Part(earlier.Recited, later.Recited)),
            Bootstrap.Mean("recited earlier", Part(later.Recited, earlier.Recited)),
            earlier.Recited.Count(r => r),
            later.Recited.Count(r => r)
        );
    }

    /// <summary>The token of the highest last logit, <c>[B]</c>; of equal ones the lowest.</summary>
    private static Tensor Next(Tensor logits, Tensor given)
    {
        if (logits.dim() != 3 || logits.shape[0] != given.shape[0] || logits.shape[1] != given.shape[1])
        {
            throw new InfluenceException(
                $"The model gives logits [B, T, V] for tokens [B, T] = [{string.Join(", ", given.shape)}]; found "
                    + $"[{string.Join(", ", logits.shape)}]."
            );
        }

        var last = logits.select(1, logits.shape[1] - 1); // [B, V]
        if (last.isnan().any().item<bool>())
        {
            throw new InfluenceException("The model gives logits that are no numbers: nothing can be decoded.");
        }

        var highest = last.eq(last.amax([1L], keepdim: true)); // [B, V]
        // [B, V]
        var order = arange(Kept(0), Kept(last.shape[1]), Kept(1), ScalarType.Int64, last.device).unsqueeze(0).expand(last.shape);
        return order.masked_fill(highest.logical_not(), Kept(last.shape[1])).amin([1L]); // [B]
    }

    /// <summary>What recitation by one model tells of that by a later one.</summary>
    /// <param name="Precision">The share of the texts recited earlier that are recited later; NaN where none was.</param>
    /// <param name="Recall">The share of the texts recited later that were recited earlier; NaN where none is.</param>
    /// <param name="Predicted">How many were recited earlier.</param>
    /// <param name="Recited">How many are recited later.</param>
    public sealed record Comparison(Estimate Precision, Estimate Recall, int Predicted, int Recited);

    /// <summary>How much of each text a model recites. Plain memory.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly Recitation _settings;

        internal Result(Recitation settings, long[] ids, double[] shares) => (_settings, Ids, Shares) = (settings, ids, shares);

        /// <summary>The texts' ids.</summary>
        public IReadOnlyList<long> Ids { get; }

        /// <summary>The share of each text's positions that came out as they are.</summary>
        public IReadOnlyList<double> Shares { get; }

        /// <summary>Whether all did.</summary>
        public IReadOnlyList<bool> Recited => [.. Shares.Select(share => share == 1)];

        /// <summary>The share of the texts that are recited.</summary>
        public Estimate Rate => _settings.Bootstrap.Mean("recited", [.. Recited.Select(recited => recited ? 1.0 : 0.0)]);

        /// <summary>The mean share of positions.</summary>
        public Estimate MeanShare => _settings.Bootstrap.Mean("positions", Shares);

        /// <summary>A table of the two.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            // Each reading draws its resamples.
            var (rate, share) = (Rate, MeanShare);
            return new Table(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Recitation of {Ids.Count:N0} texts: {_settings.SuffixLength} tokens after {_settings.PrefixLength}"
                ),
                ["", "mean over texts", "lower", "upper"],
                [
                    ["recited", rate.Value, rate.Lower, rate.Upper],
                    ["equal positions", share.Value, share.Lower, share.Upper],
                ]
            );
        }
    }
}
