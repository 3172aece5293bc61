using System.Net;
using System.Text;

namespace MislabelledImages;

/// <summary>One self-contained page: its style and its pictures lie within the file.</summary>
internal sealed class HtmlPage(string title)
{
    private const string Style = """
        body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #f6f7f9; }
        body { margin: 0 auto; max-width: 1180px; padding: 24px; }
        h1 { font-size: 26px; margin: 0 0 8px; } h2 { font-size: 19px; margin: 32px 0 8px; }
        p { max-width: 76ch; margin: 0 0 12px; }
        table { margin: 0 0 12px; border-collapse: collapse; background: #fff; }
        th, td { border: 1px solid #d5dae1; padding: 5px 12px; text-align: left; }
        td:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums; }
        .cards { display: flex; flex-wrap: wrap; gap: 10px; }
        .card { box-sizing: border-box; width: 132px; padding: 8px; border: 1px solid #d5dae1; border-radius: 6px; }
        .card { background: #fff; font-size: 12.5px; line-height: 1.35; }
        .card.flipped { border-color: #c0392b; background: #fdf1ef; }
        .card img { display: block; width: 112px; height: 112px; margin: 0 auto 6px; image-rendering: pixelated; }
        .card div { overflow-wrap: anywhere; }
        .card .mark { color: #a93226; font-weight: 600; } .card .score { color: #5b6675; }
        .explanation { display: flex; flex-wrap: wrap; gap: 20px; padding: 14px 0; border-top: 1px solid #d5dae1; }
        .explanation h3 { font-size: 13px; margin: 0 0 6px; color: #46505e; }
        .card.wrong { border-color: #b7791f; background: #fdf7ea; }
        """;

    private readonly StringBuilder _body = new();

    public HtmlPage Heading(string text) => Element("h2", text);

    public HtmlPage Paragraph(string text) => Element("p", text);

    /// <summary>A table; its first row names the columns.</summary>
    public HtmlPage Table(IEnumerable<IEnumerable<string>> rows)
    {
        _body.AppendLine("<table>");
        foreach (var (index, row) in rows.Index())
        {
            var tag = index == 0 ? "th" : "td";
            _body.AppendLine($"<tr>{string.Concat(row.Select(cell => $"<{tag}>{Encode(cell)}</{tag}>"))}</tr>");
        }

        _body.AppendLine("</table>");
        return this;
    }

    /// <summary>Pictures side by side.</summary>
    public HtmlPage Cards(IEnumerable<PictureCard> cards)
    {
        AppendCards(cards);
        return this;
    }

    /// <summary>Groups of pictures side by side, each under a heading of its own.</summary>
    public HtmlPage CardGroups(params IEnumerable<(string Heading, IEnumerable<PictureCard> Cards)> groups)
    {
        _body.AppendLine("<div class=\"explanation\">");
        foreach (var (heading, cards) in groups)
        {
            _body.AppendLine($"<div><h3>{Encode(heading)}</h3>");
            AppendCards(cards);
            _body.AppendLine("</div>");
        }

        _body.AppendLine("</div>");
        return this;
    }

    public override string ToString() => $"""
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>{Encode(title)}</title>
        <style>
        {Style}
        </style>
        </head>
        <body>
        <h1>{Encode(title)}</h1>
        {_body}</body>
        </html>

        """;

    private HtmlPage Element(string tag, string text)
    {
        _body.AppendLine($"<{tag}>{Encode(text)}</{tag}>");
        return this;
    }

    private void AppendCards(IEnumerable<PictureCard> cards)
    {
        _body.AppendLine("<div class=\"cards\">");
        foreach (var card in cards)
        {
            _body.AppendLine(card.ToHtml());
        }

        _body.AppendLine("</div>");
    }

    private static string Encode(string text) => WebUtility.HtmlEncode(text);
}
