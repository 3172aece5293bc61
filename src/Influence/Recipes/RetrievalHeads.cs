using System.Collections;
using Influence.Display;

namespace Influence.Recipes;

/// <summary>Every attention head of a model by how much it copies, the strongest first; ties in the model's order.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class RetrievalHeads : IReadOnlyList<(RetrievalHeads.Head Head, double Score)>, IDisplay
{
    private readonly IReadOnlyList<(Head Head, double Score)> _all;

    internal RetrievalHeads(Kind measure, IEnumerable<(Head Head, double Score)> all)
    {
        Measure = measure;
        _all = [.. all.OrderByDescending(h => h.Score)];
    }

    /// <summary>What the scores are.</summary>
    public Kind Measure { get; }

    /// <inheritdoc/>
    public int Count => _all.Count;

    /// <inheritdoc/>
    public (Head Head, double Score) this[int index] => _all[index];

    /// <summary>The first heads: a share of all, rounded down, at least one.</summary>
    /// <param name="share">Above 0, at most 1.</param>
    /// <returns>The heads.</returns>
    public IReadOnlyList<Head> Top(double share) =>
        [.. _all.Take(Math.Max(1, (int)Math.Floor((share * Count) + 1e-9))).Select(h => h.Head)];

    /// <inheritdoc/>
    public IEnumerator<(Head Head, double Score)> GetEnumerator() => _all.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table of the heads.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"Retrieval heads: {Count:N0} heads by "
                + (
                    Measure == Kind.Attention
                        ? "the share of copied tokens that they point to"
                        : "the rise of the copy loss without them, in nats a token"
                ),
            ["layer", "head", "score"],
            [.. _all.Take(Table.MaximumRows).Select(h => (IReadOnlyList<object>)[h.Head.Layer, h.Head.Index, h.Score])],
            Count
        );

    /// <summary>One attention head.</summary>
    /// <param name="Layer">The query projection's name, as <see cref="AttentionInfluence.Projections"/> gives it, or the path of a native
    /// module's attention.</param>
    /// <param name="Index">Its place among the layer's query heads, from 0.</param>
    public readonly record struct Head(string Layer, int Index)
    {
        /// <summary>Layer and index.</summary>
        /// <returns>For example <c>layers.1.q.weight, head 3</c>.</returns>
        public override string ToString() => $"{Layer}, head {Index}";
    }

    /// <summary>How it is found out which heads copy.</summary>
    public enum Kind
    {
        /// <summary>
        /// The share of copied tokens at which the head's strongest attention points to the token to be copied, from 0 to 1. Needs to see
        /// the attention: wrong where something beside queries and keys decides it, such as rotary positions or ALiBi.
        /// </summary>
        Attention,

        /// <summary>
        /// How much the loss on the copied tokens rises, in nats a token, when the head alone is masked. Needs no look at the attention,
        /// and one forward pass over the probes for each head.
        /// </summary>
        MaskedLoss,
    }
}
