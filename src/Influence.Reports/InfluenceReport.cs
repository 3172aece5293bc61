using System.Globalization;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Influence.Reports;

/// <summary>
/// One self-contained HTML page of what was found: suspects, queries with proponents and opponents, groups, mixtures, curves, cost, and how
/// every number was made. It loads nothing, follows light and dark, prints, and can be used by keyboard alone.
/// </summary>
/// <remarks>
/// What is added is read at once: scores may be disposed, and tensors freed, before the page is written. Texts and ids are shown as text,
/// whatever they hold: the page's policy lets no script run but its own. The same content makes the same bytes.
/// </remarks>
/// <param name="title">The heading.</param>
public sealed partial class InfluenceReport(string title)
{
    private const int QueryPriority = 0;
    private const int OtherPriority = 1;

    private readonly string _title = title ?? throw new ArgumentNullException(nameof(title));
    private readonly List<(string Heading, string Html)> _sections = [];
    private readonly List<string> _suspects = [];
    private readonly List<string> _queries = [];
    private readonly List<(string Of, ScoreMetadata Metadata)> _made = [];
    private readonly ViewPool _views = new();

    /// <summary>What the reader should know first, paragraph by paragraph.</summary>
    public IReadOnlyList<string> Summary { get; init; } = [];

    /// <summary>The most bytes of the page. What does not fit is listed with id, label and scores, without its picture or text, and the
    /// page says so.</summary>
    /// <value>10,000,000.</value>
    /// <exception cref="InfluenceException">Below 100,000.</exception>
    public int MaximumBytes
    {
        get;
        init => field = value >= 100_000 ? value : throw new InfluenceException($"MaximumBytes is at least 100000, not {value}.");
    } = 10_000_000;

    /// <summary>Adds paragraphs under a heading.</summary>
    /// <param name="heading">The heading.</param>
    /// <param name="paragraphs">The paragraphs.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Text(string heading, params IReadOnlyList<string> paragraphs)
    {
        ArgumentNullException.ThrowIfNull(paragraphs);
        return Add(heading, string.Concat(paragraphs.Select(Paragraph)));
    }

    /// <summary>Adds a table that can be sorted.</summary>
    /// <param name="heading">The heading.</param>
    /// <param name="headers">One a column.</param>
    /// <param name="rows">Cells: texts and numbers.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    /// <exception cref="InfluenceException">A row has another number of cells than there are headers.</exception>
    public InfluenceReport Table(string heading, IReadOnlyList<string> headers, IEnumerable<IReadOnlyList<object?>> rows, string note = "")
    {
        ArgumentNullException.ThrowIfNull(headers);
        ArgumentNullException.ThrowIfNull(rows);
        return Add(heading, Paragraph(note) + Sortable(headers, [.. rows]));
    }

    /// <summary>
    /// Adds training examples in the order of their scores, as a gallery or a table that is sorted, filtered by label and mark and
    /// searched.
    /// </summary>
    /// <param name="scores">What they are ranked by, self-influence for instance: high = first.</param>
    /// <param name="show">How an example is shown; null for its id alone. The same delegate in several calls stores each example
    /// once.</param>
    /// <param name="count">The most examples.</param>
    /// <param name="beside">Further scores of the same examples, as their losses; an example without one has no number there.</param>
    /// <param name="heading">The heading; null for "Suspects by ...".</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    /// <exception cref="InfluenceException">A count below 1, or an example that is not shown.</exception>
    public InfluenceReport Suspects(
        ExampleScores scores,
        Func<long, ExampleView>? show = null,
        int count = 10_000,
        IReadOnlyList<ExampleScores>? beside = null,
        string? heading = null,
        string note = ""
    )
    {
        ArgumentNullException.ThrowIfNull(scores);
        if (count < 1)
        {
            throw new InfluenceException($"The number of suspects is at least 1, not {count}.");
        }

        ExampleScores[] all = [scores, .. beside ?? []];
        heading ??= $"Suspects by {scores.Title}";
        var others = all.Skip(1).Select(s => s.Ids.Zip(s.Values).ToDictionary(pair => pair.First, pair => pair.Second)).ToList();
        var ranking = scores.Highest(count);
        _suspects.Add(
            ViewPool.Json(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("title", Cell.Clean(heading));
                writer.WriteStartArray("columns");
                foreach (var column in all)
                {
                    writer.WriteStringValue(Cell.Clean(column.Title));
                }

                writer.WriteEndArray();
                writer.WriteStartArray("rows");
                foreach (var example in ranking)
                {
                    writer.WriteStartArray();
                    writer.WriteNumberValue(_views.Add(example.Id, show, query: false, OtherPriority));
                    ViewPool.Number(writer, example.Score);
                    foreach (var other in others)
                    {
                        ViewPool.Number(writer, other.GetValueOrDefault(example.Id, double.NaN));
                    }

                    writer.WriteEndArray();
                }

                writer.WriteEndArray();
                writer.WriteEndObject();
            })
        );
        foreach (var one in all)
        {
            Made(one.Title, one.Metadata);
        }

        var shown =
            ranking.Count == scores.Count
                ? string.Empty
                : string.Create(CultureInfo.InvariantCulture, $"The first {ranking.Count:N0} of {scores.Count:N0} examples.");
        return Add(heading, $"{Paragraph(note)}{Paragraph(shown)}<div data-suspects=\"{_suspects.Count - 1}\">{NoScript}</div>");
    }

    /// <summary>Adds queries, each with the training examples that did most for it and against it.</summary>
    /// <param name="scores">The scores; read at once.</param>
    /// <param name="showTrain">How a training example is shown; null for its id alone.</param>
    /// <param name="showQuery">How a query is shown; null for its id alone.</param>
    /// <param name="count">How many proponents, and how many opponents.</param>
    /// <param name="showPair">
    /// How a training example is shown beside a query, from the query's id and its own: its tokens coloured by what they did for it. Null,
    /// or null for one pair, shows the training example alone. Its label and mark stay unless the view has others.
    /// </param>
    /// <param name="opponents">Whether opponents are shown.</param>
    /// <param name="heading">The heading; null for "Queries, ...".</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    /// <exception cref="InfluenceException">A count below 1, or an example that is not shown.</exception>
    public InfluenceReport Queries(
        InfluenceScores scores,
        Func<long, ExampleView>? showTrain = null,
        Func<long, ExampleView>? showQuery = null,
        int count = 5,
        Func<long, long, ExampleView?>? showPair = null,
        bool opponents = true,
        string? heading = null,
        string note = ""
    )
    {
        ArgumentNullException.ThrowIfNull(scores);
        if (count < 1)
        {
            throw new InfluenceException($"The number of proponents is at least 1, not {count}.");
        }

        heading ??= $"Queries, {scores.Metadata.Estimator}";
        _queries.Add(
            ViewPool.Json(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("title", Cell.Clean(heading));
                writer.WriteStartArray("items");
                foreach (var (row, query) in scores.QueryIds.Index())
                {
                    writer.WriteStartObject();
                    writer.WriteNumber("v", _views.Add(query, showQuery, query: true, QueryPriority));
                    Side("p", query, scores.Proponents(row, count));
                    Side("o", query, opponents ? scores.Opponents(row, count) : []);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
                writer.WriteEndObject();

                void Side(string name, long query, IEnumerable<RankedExamples.Row> examples)
                {
                    writer.WriteStartArray(name);
                    foreach (var example in examples)
                    {
                        writer.WriteStartArray();
                        writer.WriteNumberValue(_views.Add(example.Id, showTrain, query: false, QueryPriority));
                        ViewPool.Number(writer, example.Score);
                        if (showPair?.Invoke(query, example.Id) is { } pair)
                        {
                            writer.WriteNumberValue(_views.Add(example.Id, pair, query: false, QueryPriority));
                        }

                        writer.WriteEndArray();
                    }

                    writer.WriteEndArray();
                }
            })
        );
        Made(heading, scores.Metadata);
        var sign = $"{scores.Metadata.Sign}. Unit: {scores.Metadata.Unit}.";
        return Add(
            heading,
            $"{Paragraph(note)}<p class=\"note\">{Cell.Html(sign)}</p><div data-queries=\"{_queries.Count - 1}\">{NoScript}</div>"
        );
    }

    /// <summary>Writes the page.</summary>
    /// <param name="path">The file, ending in <c>.html</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        OutputFile.CheckEnding(path, ".html");
        var bytes = Encoding.UTF8.GetBytes(ToHtml());
        OutputFile.Write(path, stream => stream.Write(bytes));
    }

    /// <summary>The page.</summary>
    /// <returns>A whole HTML document.</returns>
    public string ToHtml()
    {
        var (style, script) = (Resource("report.css"), Resource("report.js"));
        var sections = _made.Count == 0 ? _sections : [.. _sections, ("How the numbers were made", MadeTable())];
        var rest = $"\"suspects\":[{string.Join(',', _suspects)}],\"queries\":[{string.Join(',', _queries)}]}}";
        var used =
            Encoding.UTF8.GetByteCount(style)
            + Encoding.UTF8.GetByteCount(script)
            + Encoding.UTF8.GetByteCount(rest)
            + sections.Sum(s => Encoding.UTF8.GetByteCount(s.Html) + (4L * s.Heading.Length) + 300)
            + 4_000
            + (MaximumBytes / CharactersOfAPart * (PartBegin.Length + 10));
        var (heads, lines, cut) = _views.ToJson(MaximumBytes - used);
        var cutNote =
            cut == 0
                ? string.Empty
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"{cut:N0} of {_views.Count:N0} examples are listed without their picture or "
                        + $"text, which would make this page larger than {MaximumBytes / 1e6:0.#} MB (MaximumBytes)."
                );

        // Only this very script may run: whatever a text holds, and however it came here, it is no script.
        var hash = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(script)));
        return $$"""
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{{hash}}'; base-uri 'none'; form-action 'none'">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{{Cell.Html(_title)}}</title>
            <style>{{style}}</style>
            </head>
            <body>
            <a class="skip" href="#main">Skip to the findings</a>
            <header class="wide"><div class="top"><h1>{{Cell.Html(
                _title
            )}}</h1><button type="button" class="theme" hidden>Light or dark</button></div>
            {{string.Concat(Summary.Select(Paragraph))}}{{Paragraph(cutNote)}}<nav aria-label="Sections"><ul>{{string.Concat(
                sections.Select((s, i) => $"<li><a href=\"#s{i + 1}\">{Cell.Html(s.Heading)}</a></li>")
            )}}</ul></nav></header>
            <main id="main" class="wide">
            {{string.Concat(
                sections.Select(
                    (s, i) =>
                        $"<section id=\"s{i + 1}\" aria-labelledby=\"h{i + 1}\"><h2 id=\"h{i + 1}\">{Cell.Html(s.Heading)}</h2>{s.Html}</section>\n"
                )
            )}}</main>
            <script type="application/json" id="data">{"views":{{heads}},{{rest}}</script>
            {{Parts(lines)}}
            <script>{{script}}</script>
            </body>
            </html>

            """;
    }

    /// <summary>Lines in elements of some size: a browser reads several small ones in less time than one of many megabytes.</summary>
    private static string Parts(IReadOnlyList<string> lines)
    {
        var html = new StringBuilder();
        var size = 0;
        foreach (var (i, line) in lines.Index())
        {
            var begins = i == 0 || size > CharactersOfAPart;
            html.Append(
                    begins
                        ? i == 0
                            ? PartBegin
                            : $"</script>\n{PartBegin}"
                        : "\n"
                )
                .Append(line);
            size = begins ? line.Length : size + line.Length;
        }

        return lines.Count == 0 ? string.Empty : html.Append("</script>").ToString();
    }

    private const int CharactersOfAPart = 60_000;
    private const string PartBegin = "<script type=\"application/json\" data-views>";
    private const string NoScript =
        "<noscript><p>Galleries and queries need this page's own script, which is switched off here. Tables "
        + "and curves do not.</p></noscript>";

    private static string Resource(string name)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }

    private static string Paragraph(string text) => string.IsNullOrEmpty(text) ? string.Empty : $"<p>{Cell.Html(text)}</p>";

    private static string Sortable(IReadOnlyList<string> headers, IReadOnlyList<IReadOnlyList<object?>> rows)
    {
        var wrong = rows.FirstOrDefault(row => row.Count != headers.Count);
        if (wrong is not null)
        {
            throw new InfluenceException($"A table of {headers.Count} columns has a row of {wrong.Count} cells.");
        }

        bool[] numeric = [.. headers.Select((_, c) => rows.Count > 0 && rows.All(row => row[c] is null || IsNumber(row[c])))];
        var html = new StringBuilder("<div class=\"scroll\"><table data-sortable><thead><tr>");
        foreach (var (c, header) in headers.Index())
        {
            html.Append(
                CultureInfo.InvariantCulture,
                $"<th scope=\"col\"{(numeric[c] ? " class=\"n\"" : string.Empty)}>{Cell.Html(header)}</th>"
            );
        }

        html.Append("</tr></thead><tbody>");
        foreach (var row in rows)
        {
            html.Append("<tr>");
            foreach (var (c, value) in row.Index())
            {
                html.Append(
                    numeric[c]
                        ? string.Create(CultureInfo.InvariantCulture, $"<td class=\"n\" data-n=\"{Exact(value)}\">{Cell.Html(value)}</td>")
                        : $"<td>{Cell.Html(value)}</td>"
                );
            }

            html.Append("</tr>");
        }

        return html.Append("</tbody></table></div>").ToString();
    }

    private static bool IsNumber(object? value) => value is double or float or int or long;

    private static string Exact(object? value) =>
        value is null || (value is double or float && !double.IsFinite(Convert.ToDouble(value, CultureInfo.InvariantCulture)))
            ? string.Empty
            : Convert.ToString(value, CultureInfo.InvariantCulture)!;

    private static string Figures(string svg, string table) => $"{svg}<details><summary>The same as figures</summary>{table}</details>";

    private InfluenceReport Add(string heading, string html)
    {
        ArgumentNullException.ThrowIfNull(heading);
        _sections.Add((heading, html));
        return this;
    }

    private void Made(string of, ScoreMetadata metadata)
    {
        if (!_made.Contains((of, metadata)))
        {
            _made.Add((of, metadata));
        }
    }

    private string MadeTable()
    {
        (string Name, Func<ScoreMetadata, string> Get)[] facts =
        [
            ("estimator", m => m.Estimator),
            ("sign", m => m.Sign),
            ("unit", m => m.Unit),
            ("checkpoints", m => m.Checkpoints),
            ("loss", m => m.LossReduction),
            ("curvature", m => m.Curvature),
            ("damping", m => m.Damping),
            ("layers", m => m.Layers),
            (
                "coverage of the parameters",
                m => double.IsFinite(m.Coverage) ? m.Coverage.ToString("0.0%", CultureInfo.InvariantCulture) : "unknown"
            ),
            ("leave-one-out factor", m => m.LeaveOneOutFactor is { } factor ? Cell.Number(factor) : string.Empty),
            ("notes", m => m.Notes),
            ("integrity", m => m.Integrity),
            ("cost", m => m.Cost?.ToString() ?? string.Empty),
        ];
        var html = new StringBuilder("<div class=\"scroll\"><table class=\"made\"><thead><tr><th scope=\"col\">of the scores</th>");
        foreach (var (of, _) in _made)
        {
            html.Append(CultureInfo.InvariantCulture, $"<th scope=\"col\">{Cell.Html(of)}</th>");
        }

        html.Append("</tr></thead><tbody>");
        foreach (var (name, get) in facts.Where(fact => _made.Any(made => fact.Get(made.Metadata).Length > 0)))
        {
            html.Append(
                CultureInfo.InvariantCulture,
                $"<tr><th scope=\"row\">{name}</th>{string.Concat(_made.Select(made => $"<td>{Cell.Html(get(made.Metadata))}</td>"))}</tr>"
            );
        }

        return html.Append("</tbody></table></div>").ToString();
    }
}
