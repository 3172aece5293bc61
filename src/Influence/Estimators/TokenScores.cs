using System.Globalization;
using Influence.Display;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Scores of every position or token of training examples for queries, <c>[queries, train, T]</c>; over T they sum to the
/// examples' scores.
/// </summary>
/// <remarks>Owns its tensor: dispose it.</remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class TokenScores : IDisposable, IDisplay
{
    internal TokenScores(Tensor values, IReadOnlyList<long> queryIds, IReadOnlyList<long> trainIds, ScoreMetadata metadata)
    {
        Values = values.DetachFromDisposeScope();
        QueryIds = queryIds;
        TrainIds = trainIds;
        Metadata = metadata;
    }

    /// <summary><c>[Q, N, T]</c> on the CPU, in the model's dtype; zero beyond an example's own length. It belongs to this
    /// object.</summary>
    public Tensor Values { get; }

    /// <summary>The queries' ids.</summary>
    public IReadOnlyList<long> QueryIds { get; }

    /// <summary>The training examples' ids.</summary>
    public IReadOnlyList<long> TrainIds { get; }

    /// <summary>How they were made and how to read them.</summary>
    public ScoreMetadata Metadata { get; }

    /// <summary>The same scores, with a note; this one is not to be used any more.</summary>
    internal TokenScores WithNote(string note) =>
        new(Values, QueryIds, TrainIds, Metadata with { Notes = Metadata.Notes.Length == 0 ? note : $"{Metadata.Notes}; {note}" });

    /// <summary>One example's scores for one query, position by position.</summary>
    /// <param name="query">The query's row (not id).</param>
    /// <param name="train">The training example's place (not id).</param>
    /// <returns>T numbers.</returns>
    /// <exception cref="InfluenceException">There is no such row or place.</exception>
    public double[] For(int query, int train)
    {
        if (query < 0 || query >= QueryIds.Count || train < 0 || train >= TrainIds.Count)
        {
            throw new InfluenceException(
                $"There are {QueryIds.Count} queries and {TrainIds.Count} training examples; there is no pair ({query}, {train})."
            );
        }

        using var scope = NewDisposeScope();
        return Values[query, train].to_type(ScalarType.Float64).contiguous().data<double>().ToArray();
    }

    /// <summary>One example's scores for one query, summed over spans of positions: over sentences, steps of a reasoning, or the lines of a
    /// program.</summary>
    /// <param name="query">The query's row (not id).</param>
    /// <param name="train">The training example's place (not id).</param>
    /// <param name="spans">Spans of positions, <c>[0..12, 12..^0]</c>; they may overlap. Where they part all positions, their sums add up
    /// to the example's score.</param>
    /// <returns>One sum a span.</returns>
    /// <exception cref="InfluenceException">There is no such row or place, or a span goes beyond the positions.</exception>
    public double[] SumSpans(int query, int train, params IReadOnlyList<Range> spans)
    {
        ArgumentNullException.ThrowIfNull(spans);
        var values = For(query, train);
        return
        [
            .. spans.Select(span =>
            {
                var (start, end) = (span.Start.GetOffset(values.Length), span.End.GetOffset(values.Length));
                return start >= 0 && start <= end && end <= values.Length
                    ? values[start..end].Sum()
                    : throw new InfluenceException($"A span lies within the {values.Length} positions; {span} does not.");
            }),
        ];
    }

    /// <summary>Writes the scores as safetensors: <c>scores [Q, N, T]</c>, <c>query_ids</c>, <c>train_ids</c> and the metadata.</summary>
    /// <param name="path">The file, ending in <c>.safetensors</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        using var scope = NewDisposeScope();
        Safetensors.Save(
            path,
            [("scores", Values), ("query_ids", tensor(QueryIds.ToArray())), ("train_ids", tensor(TrainIds.ToArray()))],
            Metadata.ToStrings()
        );
    }

    /// <summary>Frees the scores.</summary>
    public void Dispose() => Values.Dispose();

    /// <summary>A table with each pair's strongest position.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"{Metadata.Estimator}: {QueryIds.Count:N0} queries x {TrainIds.Count:N0} training examples x {Values.shape[2]:N0} positions",
            ["query", "train", "score", "strongest position", "its score"],
            [.. Pairs().Take(Table.MaximumRows).Select(Row)],
            (long)QueryIds.Count * TrainIds.Count
        );

    private IEnumerable<(int Query, int Train)> Pairs() =>
        from q in Enumerable.Range(0, QueryIds.Count)
        from n in Enumerable.Range(0, TrainIds.Count)
        select (q, n);

    private IReadOnlyList<object> Row((int Query, int Train) pair)
    {
        var values = For(pair.Query, pair.Train);
        var strongest = Enumerable.Range(0, values.Length).MaxBy(t => Math.Abs(values[t]));
        return
        [
            QueryIds[pair.Query],
            TrainIds[pair.Train],
            values.Sum(),
            strongest.ToString(CultureInfo.InvariantCulture),
            values[strongest],
        ];
    }
}
