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

    /// <summary>In HTML, titles beyond this many characters may take several lines.</summary>
    private const int LongTitle = 80;

    /// <summary>Columns of text beyond this width are counted, not shown; HTML shows them all.</summary>
    private const int MaximumWidth = 160;

    /// <summary>The table in fixed-width text, numbers to the right.</summary>
    public string ToText()
    {
        var shown = Shown();
        var names = headers.Select(OneLine).ToList();
        var widths = names.Select((h, c) => shown.Select(r => r[c].Length).Append(h.Length).Max()).ToArray();
        var columns = Fitting(widths);
        var text = new StringBuilder().AppendLine(OneLine(title));
        AppendLine(names);
        AppendLine([.. widths.Select(w => new string('-', w))]);
        foreach (var row in shown)
        {
            AppendLine(row);
        }

        if (More is { } more)
        {
            text.AppendLine(more);
        }

        if (columns < widths.Length)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"... and {widths.Length - columns:N0} more columns");
        }

        return text.ToString().TrimEnd();

        void AppendLine(IReadOnlyList<string> cells)
        {
            var line = cells.Take(columns).Select((cell, c) => IsNumber(c) ? cell.PadLeft(widths[c]) : cell.PadRight(widths[c]));
            text.AppendLine(string.Join("  ", line).TrimEnd());
        }
    }

    /// <summary>The table as an HTML fragment; every text is encoded.</summary>
    public string ToHtml()
    {
        // The style sheets of notebooks put every cell to the right, and a caption is no wider than its table, however narrow that is.
        var wide = title.Length <= LongTitle ? "white-space:nowrap" : "min-width:42em";
        var html = new StringBuilder($"<table><caption style=\"text-align:left;{wide}\">")
            .Append(WebUtility.HtmlEncode(title))
            .Append("</caption><thead><tr>");
        for (var c = 0; c < headers.Count; c++)
        {
            html.Append("<th style=\"text-align:").Append(Side(c)).Append("\">").Append(WebUtility.HtmlEncode(headers[c])).Append("</th>");
        }

        html.Append("</tr></thead><tbody>");
        foreach (var row in Shown())
        {
            html.Append("<tr>");
            for (var c = 0; c < row.Count; c++)
            {
                html.Append("<td style=\"text-align:").Append(Side(c)).Append("\">").Append(WebUtility.HtmlEncode(row[c])).Append("</td>");
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

    /// <summary>As many columns as the width allows, and at least the first.</summary>
    private static int Fitting(int[] widths)
    {
        var (width, columns) = (0, 0);
        while (columns < widths.Length && (columns == 0 || width + 2 + widths[columns] <= MaximumWidth))
        {
            width += (columns == 0 ? 0 : 2) + widths[columns++];
        }

        return columns;
    }

    private string Side(int column) => IsNumber(column) ? "right" : "left";

    private bool IsNumber(int column) => rows.Count > 0 && rows[0][column] is not string;

    private static string Cell(object value)
    {
        var text = value switch
        {
            string s => OneLine(s),
            double d => d.ToString("G5", CultureInfo.InvariantCulture),
            float f => f.ToString("G5", CultureInfo.InvariantCulture),
            IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
            _ => value.ToString() ?? string.Empty,
        };
        return text.Length <= MaximumCell ? text : text[..(MaximumCell - 3)] + "...";
    }

    /// <summary>Tabs, line ends and escape codes would break the columns, or the terminal.</summary>
    private static string OneLine(string text) =>
        text.Any(char.IsControl) ? string.Concat(text.ReplaceLineEndings(" ").Select(c => char.IsControl(c) ? ' ' : c)) : text;
}
