using System.Globalization;
using System.Net;
using System.Text;
using Influence.Numerics;

namespace Influence.Training;

/// <summary>
/// Draws a <see cref="Cartography"/>: variability on x, confidence on y, coloured by the share of correct predictions
/// (Swayamdipta et al., 2020, figure 1).
/// </summary>
public sealed partial record DataMap
{
    private const int Width = 760;
    private const int Height = 520;
    private const int Left = 70;
    private const int Top = 50;
    private const int PlotWidth = 520;
    private const int PlotHeight = 400;

    // A rim of the page's white: the names stay readable where points lie below them, as they do in the corners.
    private const string Region =
        "fill=\"#444\" font-style=\"italic\" stroke=\"#fff\" stroke-width=\"4\" stroke-linejoin=\"round\" paint-order=\"stroke\"";

    // From wrong to right; the steps differ in lightness too, so that they tell apart without colours.
    private static readonly string[] s_colours = ["#7f1d4f", "#c4386a", "#ef7a4d", "#c9a227", "#4f9d69", "#1f5f8b"];

    /// <summary>The most examples that are drawn; of more, a sample, and the picture says so.</summary>
    /// <value>3,000: a file of 100 KB.</value>
    /// <exception cref="InfluenceException">Below 1.</exception>
    public int MaximumPoints
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3000;

    /// <summary>Which examples the sample holds; each is as likely.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>The heading.</summary>
    /// <value>Data map.</value>
    public string Title { get; init; } = "Data map";

    /// <summary>Draws the map.</summary>
    /// <param name="cartography">What <see cref="TrainingDynamics.Cartography"/> gives.</param>
    /// <returns>The picture.</returns>
    public Result Draw(Cartography cartography)
    {
        ArgumentNullException.ThrowIfNull(cartography);
        var points = Sample(cartography.Points);
        var svg = new StringBuilder();
        svg.Append(
            CultureInfo.InvariantCulture,
            $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {Height}\" "
                + $"width=\"{Width}\" height=\"{Height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
        );
        svg.Append(CultureInfo.InvariantCulture, $"<rect width=\"{Width}\" height=\"{Height}\" fill=\"#fff\"/>\n");
        AppendText(svg, Left, 26, Title, "font-size=\"16\" font-weight=\"bold\"");
        AppendText(svg, Left, 42, Subtitle(points.Count, cartography.Points.Count), "fill=\"#666\"");
        AppendAxes(svg);
        AppendPoints(svg, points);
        AppendText(svg, Left + 8, Top + 16, "easy to learn", Region);
        AppendText(svg, Left + 8, Top + PlotHeight - 8, "hard to learn", Region);
        AppendText(svg, Left + PlotWidth - 8, Top + (PlotHeight / 2), "ambiguous", $"{Region} text-anchor=\"end\"");
        AppendLegend(svg, points);
        return new Result(svg.Append("</svg>\n").ToString());
    }

    /// <summary>The examples of lowest random key: the same ones in whatever order they come.</summary>
    private List<Cartography.Point> Sample(IReadOnlyList<Cartography.Point> points)
    {
        if (points.Count <= MaximumPoints)
        {
            return [.. points];
        }

        var random = new KeyedRandom(Seed, "data map");
        return [.. points.OrderBy(p => random.Of(p.Id)).ThenBy(p => p.Id).Take(MaximumPoints).OrderBy(p => p.Id)];
    }

    private string Subtitle(int shown, int all) =>
        shown == all
            ? string.Create(CultureInfo.InvariantCulture, $"{all:N0} examples")
            : string.Create(CultureInfo.InvariantCulture, $"{shown:N0} of {all:N0} examples, a random sample (seed {Seed})");

    private static void AppendAxes(StringBuilder svg)
    {
        svg.Append("<g stroke=\"#ddd\">\n");
        for (var i = 0; i <= 5; i++)
        {
            var (x, y) = (X(i * 0.1), Y(i * 0.2));
            svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{x:0.#} {Top}v{PlotHeight}M{Left} {y:0.#}h{PlotWidth}\"/>\n");
        }

        svg.Append("</g>\n");
        for (var i = 0; i <= 5; i++)
        {
            AppendText(
                svg,
                X(i * 0.1),
                Top + PlotHeight + 18,
                (i * 0.1).ToString("0.0", CultureInfo.InvariantCulture),
                "text-anchor=\"middle\""
            );
            AppendText(svg, Left - 8, Y(i * 0.2) + 4, (i * 0.2).ToString("0.0", CultureInfo.InvariantCulture), "text-anchor=\"end\"");
        }

        AppendText(
            svg,
            Left + (PlotWidth / 2),
            Top + PlotHeight + 42,
            "variability: standard deviation of the label's probability",
            "text-anchor=\"middle\""
        );
        var middle = Top + (PlotHeight / 2);
        AppendText(
            svg,
            24,
            middle,
            "confidence: mean probability of the label",
            string.Create(CultureInfo.InvariantCulture, $"text-anchor=\"middle\" transform=\"rotate(-90 24 {middle})\"")
        );
    }

    private static void AppendPoints(StringBuilder svg, List<Cartography.Point> points)
    {
        foreach (var group in points.GroupBy(Bin).OrderByDescending(g => g.Key))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<g fill=\"{s_colours[group.Key]}\" fill-opacity=\"0.7\">\n");
            foreach (var point in group)
            {
                svg.Append(
                    CultureInfo.InvariantCulture,
                    $"<circle cx=\"{X(point.Variability):0.#}\" cy=\"{Y(point.Confidence):0.#}\" r=\"2.5\"/>\n"
                );
            }

            svg.Append("</g>\n");
        }
    }

    private static void AppendLegend(StringBuilder svg, List<Cartography.Point> points)
    {
        const int X = Left + PlotWidth + 24;
        var counts = points.CountBy(Bin).ToDictionary();
        AppendText(svg, X, Top + 10, "correct predictions", "font-weight=\"bold\"");
        for (var bin = 0; bin < s_colours.Length; bin++)
        {
            var y = Top + 32 + (22 * bin);
            svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{X + 6}\" cy=\"{y - 4}\" r=\"5\" fill=\"{s_colours[bin]}\"/>\n");
            var name =
                bin == 0 ? "none"
                : bin == s_colours.Length - 1 ? "all"
                : string.Create(CultureInfo.InvariantCulture, $"{Edge(bin - 1):0%} to {Edge(bin):0%}");
            AppendText(
                svg,
                X + 20,
                y,
                string.Create(CultureInfo.InvariantCulture, $"{name} ({counts.GetValueOrDefault(bin):N0})"),
                string.Empty
            );
        }
    }

    /// <summary>None and all correct have colours of their own, the rest is in equal parts.</summary>
    private static int Bin(Cartography.Point point) =>
        point.Correct == 0 ? 0
        : point.Correct == point.Presentations ? s_colours.Length - 1
        : 1 + (int)Math.Min(point.CorrectFraction * (s_colours.Length - 2), s_colours.Length - 3);

    private static double Edge(int part) => part / (s_colours.Length - 2.0);

    // Of numbers in [0, 1] the standard deviation is at most one half.
    private static double X(double variability) => Left + (PlotWidth * variability / 0.5);

    private static double Y(double confidence) => Top + (PlotHeight * (1 - confidence));

    private static void AppendText(StringBuilder svg, double x, double y, string text, string attributes) =>
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x:0.#}\" y=\"{y:0.#}\" {attributes}>{WebUtility.HtmlEncode(text)}</text>\n");
}
