using System.Globalization;
using System.Net;
using System.Text;

namespace PretrainedTextClassifier;

/// <summary>One self-contained page, readable on light and on dark.</summary>
internal sealed class HtmlPage(string title)
{
    private const int Levels = 10;

    private const string Style = """
        :root { color-scheme: light dark; --text: #1c2430; --page: #f6f7f9; --box: #fff; --line: #d5dae1; --faint: #5b6675; --mark: #a93226; }
        @media (prefers-color-scheme: dark) {
          :root { --text: #e3e7ed; --page: #14181e; --box: #1d232b; --line: #39424e; --faint: #9aa6b5; --mark: #f0857a; }
        }
        body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); }
        body { margin: 0 auto; max-width: 1180px; padding: 24px; }
        h1 { font-size: 26px; margin: 0 0 8px; } h2 { font-size: 19px; margin: 36px 0 8px; } h3 { font-size: 14px; margin: 12px 0 6px; }
        p { max-width: 82ch; margin: 0 0 12px; }
        table { margin: 0 0 12px; border-collapse: collapse; background: var(--box); }
        th, td { border: 1px solid var(--line); padding: 5px 12px; text-align: left; font-variant-numeric: tabular-nums; }
        td:not(:first-child) { text-align: right; }
        .box { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; margin: 0 0 8px; font-size: 13.5px; overflow-wrap: anywhere; }
        .head { color: var(--faint); font-size: 12.5px; } .head b { color: var(--text); } .head .mark { color: var(--mark); font-weight: 600; }
        .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 0 16px; }
        i { font-style: normal; border-radius: 2px; }
        """;

    private readonly StringBuilder _body = new();

    public HtmlPage Heading(string text) => Html($"<h2>{Encode(text)}</h2>");

    public HtmlPage Paragraph(string text) => Html($"<p>{Encode(text)}</p>");

    /// <summary>A table; its first row names the columns.</summary>
    public HtmlPage Table(IEnumerable<IReadOnlyList<string>> rows)
    {
        _body.AppendLine("<table>");
        foreach (var (index, row) in rows.Index())
        {
            var tag = index == 0 ? "th" : "td";
            _body.AppendLine($"<tr>{string.Concat(row.Select(cell => $"<{tag}>{Encode(cell)}</{tag}>"))}</tr>");
        }

        return Html("</table>");
    }

    /// <summary>Finished HTML, whose texts went through <see cref="Encode"/>.</summary>
    public HtmlPage Html(string html)
    {
        _body.AppendLine(html);
        return this;
    }

    /// <summary>Pieces of words with a colour behind each: blue where its value is above zero, red below, the strongest in full.</summary>
    public static string Coloured(IEnumerable<(string Piece, double Value)> pieces)
    {
        var all = pieces.ToList();
        var largest = all.Select(p => Math.Abs(p.Value)).DefaultIfEmpty().Max();
        var html = new StringBuilder();
        foreach (var (piece, value) in all)
        {
            var level = largest > 0 ? (int)Math.Round(Levels * Math.Abs(value) / largest) : 0;
            var joined = piece.StartsWith("##", StringComparison.Ordinal);
            html.Append(joined || html.Length == 0 ? string.Empty : " ")
                .Append(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"<i class=\"{(value > 0 ? 'f' : 'a')}{level}\" "
                            + $"title=\"{value:G3}\">{Encode(joined ? piece[2..] : piece)}</i>"
                    )
                );
        }

        return html.ToString();
    }

    public static string Encode(string text) => WebUtility.HtmlEncode(text);

    public override string ToString() =>
        $"""
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{Encode(title)}</title>
            <style>
            {Style}
            {string.Join('\n', Enumerable.Range(1, Levels).Select(Colours))}
            </style>
            </head>
            <body>
            <h1>{Encode(title)}</h1>
            {_body}</body>
            </html>

            """;

    // Text must stay readable on the strongest colour, on light and on dark.
    private static string Colours(int level) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $".f{level} {{ background: rgba(42, 128, 220, {0.06 * level:0.00}); }} .a{level} {{ background: rgba(220, 70, 60, "
                + $"{0.06 * level:0.00}); }}"
        );
}
