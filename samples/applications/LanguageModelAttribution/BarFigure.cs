using System.Globalization;
using System.Text;

namespace LanguageModelAttribution;

/// <summary>Draws the shares of the query's own domain as bars, a group for each query, with a line where chance lies.</summary>
internal static class BarFigure
{
    private const int LabelWidth = 290;
    private const int BarsWidth = 480;
    private const int Thickness = 11;
    private const int Gap = 12;
    private const int Top = 34;

    private static readonly string[] Colours = ["first", "second"];

    public static string Draw(DomainShares shares)
    {
        var rows = shares.Rows().ToList();
        var rowHeight = (shares.Methods.Count * Thickness) + Gap;
        var svg = new StringBuilder();
        var height = Top + (rows.Count * rowHeight);
        svg.AppendLine(
            $"<svg class=\"figure\" role=\"img\" width=\"{LabelWidth + BarsWidth + 60}\" height=\"{height}\" " +
            $"viewBox=\"0 0 {LabelWidth + BarsWidth + 60} {height}\" xmlns=\"http://www.w3.org/2000/svg\">");
        svg.AppendLine($"<title>Share of the query's own domain among the top {Attribution.Counted} proponents</title>");
        Legend(svg, shares.Methods);
        foreach (var (index, row) in rows.Index())
        {
            var y = Top + (index * rowHeight);
            svg.AppendLine(
                $"<text x=\"{LabelWidth - 10}\" y=\"{y + (rowHeight / 2) - 1}\" text-anchor=\"end\">{HtmlPage.Encode(row.Label)}</text>");
            foreach (var (method, own) in row.Own.Index())
            {
                var barY = y + (method * Thickness);
                svg.AppendLine(
                    $"<rect class=\"track\" x=\"{LabelWidth}\" y=\"{barY}\" width=\"{BarsWidth}\" height=\"{Thickness - 1}\"/>" +
                    $"<rect class=\"{Colours[method % Colours.Length]}\" x=\"{LabelWidth}\" y=\"{barY}\" " +
                    $"width=\"{Number(own * BarsWidth)}\" height=\"{Thickness - 1}\"/>" +
                    $"<text x=\"{LabelWidth + BarsWidth + 8}\" y=\"{barY + Thickness - 2}\" font-size=\"11\">{own:0%}</text>");
            }

            var x = Number(LabelWidth + (row.Chance * BarsWidth));
            svg.AppendLine(
                $"<line class=\"chance\" x1=\"{x}\" x2=\"{x}\" y1=\"{y - 4}\" y2=\"{y + (shares.Methods.Count * Thickness) + 3}\"/>");
        }

        return svg.Append("</svg>").ToString();
    }

    private static void Legend(StringBuilder svg, IReadOnlyList<string> methods)
    {
        var x = LabelWidth;
        foreach (var (index, method) in methods.Index())
        {
            svg.AppendLine(
                $"<rect class=\"{Colours[index % Colours.Length]}\" x=\"{x}\" y=\"6\" width=\"12\" height=\"12\"/>" +
                $"<text x=\"{x + 17}\" y=\"16\">{HtmlPage.Encode(method)}</text>");
            x += 110;
        }

        svg.AppendLine($"<line class=\"chance\" x1=\"{x + 6}\" x2=\"{x + 6}\" y1=\"4\" y2=\"20\"/><text x=\"{x + 17}\" y=\"16\">chance</text>");
    }

    private static string Number(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);
}
