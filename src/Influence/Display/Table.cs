using System.Globalization;
using System.Net;
using System.Text;

namespace Influence.Display;

/// <summary>A table with a title, shown as text or as HTML. Knows no domain type.</summary>
/// <param name="title">One line above it.</param>
/// <param name="headers">One per column.</param>
/// <param name="rows">Cells: strings or numbers; at least those that are shown.</param>
/// <param name="total">The number of rows there are, where not all are given.</param>
internal sealed class Table(string title, IReadOnlyList<string> headers, IReadOnlyList<IReadOnlyList<object>> rows, long? total = null)
{
    /// <summary>Rows beyond this many are counted, not shown.</summary>
    public const int MaximumRows = 50;

    private const int MaximumCell = 120;

    /// <summary>The table in fixed-width text, numbers to the right.</summary>
    public string ToText()
    {
        var shown = Shown();
        var widths = headers.Select((h, c) => shown.Select(r => r[c].Length).Append(h.Length).Max()).ToArray();
        var text = new StringBuilder().AppendLine(Harmless(title));
        AppendLine(headers);
        AppendLine([.. widths.Select(w => new string('-', w))]);
        foreach (var row in shown)
        {
            AppendLine(row);
        }

        if (More is { } more)
        {
            text.AppendLine(more);
        }

        return text.ToString().TrimEnd();

        void AppendLine(IReadOnlyList<string> cells)
        {
            var line = cells.Select((cell, c) => IsNumber(c) ? cell.PadLeft(widths[c]) : cell.PadRight(widths[c]));
            text.AppendLine(string.Join("  ", line).TrimEnd());
        }
    }

    /// <summary>The table as an HTML fragment; every text is encoded.</summary>
    public string ToHtml()
    {
        var html = new StringBuilder("<table><caption>").Append(WebUtility.HtmlEncode(Harmless(title))).Append("</caption><thead><tr>");
        foreach (var header in headers)
        {
            html.Append("<th>").Append(WebUtility.HtmlEncode(header)).Append("</th>");
        }

        html.Append("</tr></thead><tbody>");
        foreach (var row in Shown())
        {
            html.Append("<tr>");
            for (var c = 0; c < row.Count; c++)
            {
                html.Append(IsNumber(c) ? "<td style=\"text-align:right\">" : "<td>").Append(WebUtility.HtmlEncode(row[c])).Append("</td>");
            }

            html.Append("</tr>");
        }

        html.Append("</tbody></table>");
        if (More is { } more)
        {
            html.Append("<p>").Append(WebUtility.HtmlEncode(more)).Append("</p>");
        }

        return html.ToString();
    }

    private string? More => (total ?? rows.Count) > MaximumRows ? $"... and {(total ?? rows.Count) - MaximumRows:N0} more" : null;

    private List<IReadOnlyList<string>> Shown() => [.. rows.Take(MaximumRows).Select(row => row.Select(Cell).ToList())];

    private bool IsNumber(int column) => rows.Count > 0 && rows[0][column] is not string;

    private static string Cell(object value)
    {
        var text = value switch
        {
            string s => Harmless(s),
            double d => d.ToString("G5", CultureInfo.InvariantCulture),
            float f => f.ToString("G5", CultureInfo.InvariantCulture),
            IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
            _ => value.ToString() ?? string.Empty,
        };
        return text.Length <= MaximumCell ? text : text[..(MaximumCell - 3)] + "...";
    }

    /// <summary>One line, without what a terminal would obey: names and titles may come from a file.</summary>
    private static string Harmless(string text)
    {
        text = text.ReplaceLineEndings(" ");
        return text.Any(char.IsControl) ? string.Concat(text.Select(c => c == '\t' ? ' ' : char.IsControl(c) ? '?' : c)) : text;
    }
}
