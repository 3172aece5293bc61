using System.Collections;
using Influence.Display;
using Influence.Formats;

namespace Influence;

/// <summary>Examples in the order of their scores; prints as a table, in a notebook too.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class RankedExamples : IReadOnlyList<RankedExamples.Row>, IDisplay
{
    private readonly string _title;
    private readonly IReadOnlyList<Row> _examples;

    internal RankedExamples(string title, IReadOnlyList<Row> examples)
    {
        _title = title;
        _examples = examples;
    }

    /// <summary>The ids in order.</summary>
    public IReadOnlyList<long> Ids => [.. _examples.Select(e => e.Id)];

    /// <inheritdoc/>
    public int Count => _examples.Count;

    /// <inheritdoc/>
    public Row this[int index] => _examples[index];

    /// <summary>The same ranking with a text for each example.</summary>
    /// <param name="describe">From an example's id to its text; null is no text.</param>
    /// <returns>The described ranking.</returns>
    public RankedExamples Describe(Func<long, string?> describe)
    {
        ArgumentNullException.ThrowIfNull(describe);
        return new RankedExamples(_title, [.. _examples.Select(e => e with { Description = describe(e.Id) ?? string.Empty })]);
    }

    /// <summary>Writes the ranking as CSV: rank, id, score, and the description where there is one.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InfluenceException">It cannot be written; nothing was changed.</exception>
    public void SaveCsv(string path)
    {
        var described = _examples.Any(e => e.Description.Length > 0);
        Csv.Save(
            path,
            ["rank", "id", "score", .. described ? ["example"] : Array.Empty<string>()],
            _examples.Select(e => (IReadOnlyList<object>)(described ? [e.Rank, e.Id, e.Score, e.Description] : [e.Rank, e.Id, e.Score]))
        );
    }

    /// <inheritdoc/>
    public IEnumerator<Row> GetEnumerator() => _examples.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table of rank, id, score and description.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        _examples.Any(e => e.Description.Length > 0)
            ? new Table(
                _title,
                ["rank", "id", "score", "example"],
                [.. _examples.Select(e => (IReadOnlyList<object>)[e.Rank, e.Id, e.Score, e.Description])]
            )
            : new Table(_title, ["rank", "id", "score"], [.. _examples.Select(e => (IReadOnlyList<object>)[e.Rank, e.Id, e.Score])]);

    /// <summary>The k highest (or lowest) of a row of scores; ties go to the lowest position, NaN comes last.</summary>
    internal static RankedExamples Rank(string title, IReadOnlyList<long> ids, IReadOnlyList<double> scores, int k, bool highest)
    {
        if (k < 0)
        {
            throw new InfluenceException($"The number of examples to rank is at least 0, not {k}.");
        }

        var order = Enumerable
            .Range(0, scores.Count)
            .OrderBy(i => double.IsNaN(scores[i]))
            .ThenByDescending(i => highest ? scores[i] : -scores[i])
            .Take(k);
        return new RankedExamples(title, [.. order.Select((i, rank) => new Row(rank + 1, ids[i], scores[i]))]);
    }

    /// <summary>One example in a ranking.</summary>
    /// <param name="Rank">From 1.</param>
    /// <param name="Id">The example's id.</param>
    /// <param name="Score">Its score.</param>
    /// <param name="Description">What it is, where <see cref="RankedExamples.Describe"/> said so; else empty.</param>
    public sealed record Row(int Rank, long Id, double Score, string Description = "");
}
