using System.Net;
using System.Text;

namespace LanguageModelAttribution;

/// <summary>One self-contained page, readable on light and on dark: style and figures lie within the file.</summary>
internal sealed class HtmlPage(string title)
{
    private const string Style = """
        :root { color-scheme: light dark; --text: #1c2430; --page: #f6f7f9; --box: #fff; --line: #d5dae1; --faint: #5b6675; }
        :root { --first: #2a6fb0; --second: #c98a1b; }
        @media (prefers-color-scheme: dark) {
          :root { --text: #e3e7ed; --page: #14181e; --box: #1d232b; --line: #39424e; --faint: #9aa6b5; }
          :root { --first: #6cabe6; --second: #e3b155; }
        }
        body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); }
        body { margin: 0 auto; max-width: 1180px; padding: 24px; }
        h1 { font-size: 26px; margin: 0 0 8px; } h2 { font-size: 19px; margin: 36px 0 8px; } h3 { font-size: 14px; margin: 0 0 6px; }
        p { max-width: 82ch; margin: 0 0 12px; }
        table { margin: 0 0 12px; border-collapse: collapse; background: var(--box); }
        th, td { border: 1px solid var(--line); padding: 5px 12px; text-align: left; font-variant-numeric: tabular-nums; }
        .figure { display: block; max-width: 100%; height: auto; margin: 0 0 12px; font: 12.5px system-ui, sans-serif; fill: var(--text); }
        .first { fill: var(--first); } .second { fill: var(--second); } .track { fill: var(--line); opacity: .45; }
        .chance { stroke: var(--text); stroke-dasharray: 4 3; } .faint { fill: var(--faint); color: var(--faint); }
        .text { font: 13.5px/1.65 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
        .text i { font-style: normal; }
        .box { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; margin: 0 0 8px; }
        .methods { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 16px; margin: 10px 0; }
        .head { display: flex; gap: 10px; align-items: baseline; font-size: 12.5px; }
        .domain { font-weight: 600; } .domain::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 3px; }
        .domain::before { background: var(--hue); margin-right: 6px; }
        .strip { display: flex; gap: 3px; margin: 0 0 8px; align-items: center; font-size: 12.5px; }
        .strip i { width: 18px; height: 18px; border-radius: 3px; background: var(--hue); opacity: .35; }
        .strip i.own { opacity: 1; } .strip span { margin-left: 8px; }
        details { font-size: 12.5px; } summary { color: var(--faint); cursor: pointer; }
        .legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 0 0 12px; }
        """;

    private readonly StringBuilder _body = new();

    public HtmlPage Heading(string text) => Html($"<h2>{Encode(text)}</h2>");

    public HtmlPage Paragraph(string text) => Html($"<p>{Encode(text)}</p>");

    /// <summary>A table; its first row names the columns.</summary>
    public HtmlPage Table(IEnumerable<IEnumerable<string>> rows)
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

    public static string Encode(string text) => WebUtility.HtmlEncode(text);

    public override string ToString() => $"""
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>{Encode(title)}</title>
        <style>
        {Style}
        {HeatMap.Style}
        </style>
        </head>
        <body>
        <h1>{Encode(title)}</h1>
        {_body}</body>
        </html>

        """;
}
