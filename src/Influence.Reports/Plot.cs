using System.Globalization;
using System.Text;

namespace Influence.Reports;

/// <summary>
/// Curves with bands and values with intervals, as SVG whose colours are the page's own: they follow light, dark and print, and the text
/// stays text. Each curve has a dash and a marker of its own beside its colour.
/// </summary>
internal static class Plot
{
    private const int Width = 860;
    private const int Colours = 8;

    /// <summary>A value with its interval; NaN where there is none.</summary>
    public readonly record struct Point(double X, double Value, double Lower, double Upper);

    /// <summary>A row of values: one for each of the names, with intervals.</summary>
    public sealed record Row(string Label, IReadOnlyList<Point> Values);

    /// <summary>Curves over x.</summary>
    public static string Curves(
        string title,
        string xName,
        string yName,
        IReadOnlyList<(string Name, IReadOnlyList<Point> Points)> curves,
        bool logarithmic = false
    )
    {
        const int Left = 70;
        const int Top = 16;
        const int PlotHeight = 280;
        const int PlotWidth = Width - Left - 20;
        var points = curves.SelectMany(c => c.Points).ToList();
        double At(double x) => logarithmic ? Math.Log10(x) : x;
        var x = Axis.Over(points.Select(p => At(p.X)), logarithmic);
        var y = Axis.Over(points.SelectMany(p => new[] { p.Value, p.Lower, p.Upper }), logarithmic: false);
        var legendRows = (curves.Count + 2) / 3;
        var height = Top + PlotHeight + 52 + (curves.Count > 1 ? 20 * legendRows : 0);
        double X(double value) => Left + (PlotWidth * x.Share(At(value)));
        double Y(double value) => Top + (PlotHeight * (1 - y.Share(value)));

        var svg = Begin(title, height);
        foreach (var (tick, text) in y.Ticks())
        {
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<path class=\"{(tick == 0 ? "zero" : "grid")}\" d=\"M{Left} {Y(tick):0.#}h{PlotWidth}\"/>"
            );
            Text(svg, Left - 8, Y(tick) + 4, text, "axis", "end");
        }

        foreach (var (tick, text) in x.Ticks())
        {
            var at = Left + (PlotWidth * x.Share(tick));
            svg.Append(CultureInfo.InvariantCulture, $"<path class=\"grid\" d=\"M{at:0.#} {Top}v{PlotHeight}\"/>");
            Text(svg, at, Top + PlotHeight + 18, text, "axis", "middle");
        }

        Text(svg, Left + (PlotWidth / 2), Top + PlotHeight + 38, xName, "axis", "middle");
        svg.Append(
            CultureInfo.InvariantCulture,
            $"<text class=\"axis\" text-anchor=\"middle\" transform=\"translate(14 "
                + $"{Top + (PlotHeight / 2)}) rotate(-90)\">{Cell.Html(yName)}</text>"
        );
        foreach (var (index, (name, all)) in curves.Index())
        {
            var curve = all.Where(p => double.IsFinite(p.Value) && double.IsFinite(At(p.X))).ToList();
            svg.Append(CultureInfo.InvariantCulture, $"<g class=\"c{index % Colours}\">");
            if (curve.Count > 1 && curve.All(p => double.IsFinite(p.Lower) && double.IsFinite(p.Upper)))
            {
                var band = string.Join(
                    ' ',
                    curve
                        .Select(p => (p.X, p.Upper))
                        .Concat(Enumerable.Reverse(curve).Select(p => (p.X, Upper: p.Lower)))
                        .Select(p => string.Create(CultureInfo.InvariantCulture, $"{X(p.X):0.#},{Y(p.Upper):0.#}"))
                );
                svg.Append(CultureInfo.InvariantCulture, $"<polygon class=\"band\" points=\"{band}\"/>");
            }

            var corners = string.Join(
                ' ',
                curve.Select(p => string.Create(CultureInfo.InvariantCulture, $"{X(p.X):0.#},{Y(p.Value):0.#}"))
            );
            svg.Append(CultureInfo.InvariantCulture, $"<polyline class=\"line\" points=\"{corners}\"/>");
            if (curve.Count <= 40)
            {
                foreach (var p in curve)
                {
                    Marker(svg, index, X(p.X), Y(p.Value), $"{name}: {Cell.Number(p.X)}, {Interval(p)}");
                }
            }

            svg.Append("</g>");
        }

        Legend(svg, [.. curves.Select(c => c.Name)], Left, Top + PlotHeight + 58);
        return svg.Append("</svg>").ToString();
    }

    /// <summary>Rows of values with intervals, from left to right.</summary>
    public static string Intervals(string title, string xName, IReadOnlyList<string> names, IReadOnlyList<Row> rows, bool bars = false)
    {
        const int Left = 270;
        const int PlotWidth = Width - Left - 90;
        const int Line = 15;
        const int Gap = 10;
        var rowHeight = (names.Count * Line) + Gap;
        var top = 8 + (names.Count > 1 ? 20 * ((names.Count + 2) / 3) : 0);
        var axis = Axis.Over(rows.SelectMany(r => r.Values).SelectMany(p => new[] { 0, p.Value, p.Lower, p.Upper }), logarithmic: false);
        var height = top + (rows.Count * rowHeight) + 44;
        double X(double value) => Left + (PlotWidth * axis.Share(value));

        var svg = Begin(title, height);
        Legend(svg, names, 70, 14);
        foreach (var (tick, text) in axis.Ticks())
        {
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<path class=\"{(tick == 0 ? "zero" : "grid")}\" d=\"M{X(tick):0.#} {top}v{rows.Count * rowHeight}\"/>"
            );
            Text(svg, X(tick), top + (rows.Count * rowHeight) + 17, text, "axis", "middle");
        }

        Text(svg, Left + (PlotWidth / 2), top + (rows.Count * rowHeight) + 36, xName, "axis", "middle");
        foreach (var (r, row) in rows.Index())
        {
            var y = top + (r * rowHeight) + (Gap / 2);
            Text(svg, Left - 10, y + (names.Count * Line / 2.0) + 4, row.Label.Length > 40 ? row.Label[..39] + "…" : row.Label, "", "end");
            foreach (var (index, p) in row.Values.Index().Where(v => double.IsFinite(v.Item.Value)))
            {
                var middle = y + (index * Line) + (Line / 2.0);
                svg.Append(CultureInfo.InvariantCulture, $"<g class=\"c{index % Colours}\">");
                if (bars)
                {
                    svg.Append(
                        CultureInfo.InvariantCulture,
                        $"<rect class=\"bars\" x=\"{Math.Min(X(0), X(p.Value)):0.#}\" "
                            + $"y=\"{middle - 5.5:0.#}\" width=\"{Math.Abs(X(p.Value) - X(0)):0.#}\" height=\"11\"/>"
                    );
                }

                if (double.IsFinite(p.Lower) && double.IsFinite(p.Upper))
                {
                    svg.Append(
                        CultureInfo.InvariantCulture,
                        $"<path class=\"whisker\" d=\"M{X(p.Lower):0.#} "
                            + $"{middle:0.#}H{X(p.Upper):0.#}m0 -4v8M{X(p.Lower):0.#} {middle - 4:0.#}v8\"/>"
                    );
                }

                if (!bars)
                {
                    Marker(svg, index, X(p.Value), middle, $"{row.Label}: {Interval(p)}");
                }

                svg.Append("</g>");
                Text(svg, Width - 80, middle + 4, Cell.Number(p.Value), "axis", "start");
            }
        }

        return svg.Append("</svg>").ToString();
    }

    /// <summary>Points by two coordinates from 0 to at most one half and 0 to 1, in six classes: where, of which class, and which
    /// example.</summary>
    public static string Map(string title, IReadOnlyList<(double X, double Y, int Class, int? View)> points, IReadOnlyList<string> classes)
    {
        const int Left = 70;
        const int Top = 12;
        const int PlotWidth = 560;
        const int PlotHeight = 400;
        var svg = Begin(title, Top + PlotHeight + 52);
        for (var i = 0; i <= 5; i++)
        {
            var (x, y) = (Left + (PlotWidth * i / 5.0), Top + (PlotHeight * (1 - (i / 5.0))));
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<path class=\"grid\" d=\"M{x:0.#} {Top}v{PlotHeight}M{Left} {y:0.#}h{PlotWidth}\"/>"
            );
            Text(svg, x, Top + PlotHeight + 18, (i * 0.1).ToString("0.0", CultureInfo.InvariantCulture), "axis", "middle");
            Text(svg, Left - 8, y + 4, (i * 0.2).ToString("0.0", CultureInfo.InvariantCulture), "axis", "end");
        }

        Text(
            svg,
            Left + (PlotWidth / 2),
            Top + PlotHeight + 40,
            "variability: standard deviation of the label's probability",
            "axis",
            "middle"
        );
        svg.Append(
            CultureInfo.InvariantCulture,
            $"<text class=\"axis\" text-anchor=\"middle\" transform=\"translate(20 "
                + $"{Top + (PlotHeight / 2)}) rotate(-90)\">confidence: mean probability of the label</text><g class=\"map\">"
        );
        foreach (var group in points.GroupBy(p => p.Class).OrderByDescending(g => g.Key))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<g class=\"m{group.Key}\">");
            foreach (var point in group)
            {
                svg.Append(
                    CultureInfo.InvariantCulture,
                    $"<circle cx=\"{Left + (PlotWidth * point.X / 0.5):0.#}\" cy=\"{Top + (PlotHeight * (1 - point.Y)):0.#}\" r=\"3\""
                );
                _ = point.View is { } view ? svg.Append(CultureInfo.InvariantCulture, $" data-v=\"{view}\"/>") : svg.Append("/>");
            }

            svg.Append("</g>");
        }

        svg.Append("</g>");
        Text(svg, Left + PlotWidth + 20, Top + 10, "correct predictions", "", "start");
        foreach (var (index, name) in classes.Index())
        {
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<circle class=\"m{index}\" cx=\"{Left + PlotWidth + 26}\" cy=\"{Top + 28 + (22 * index)}\" r=\"5\"/>"
            );
            Text(svg, Left + PlotWidth + 38, Top + 32 + (22 * index), name, "", "start");
        }

        return svg.Append("</svg>").ToString();
    }

    public static string Interval(Point point) =>
        double.IsFinite(point.Lower) && double.IsFinite(point.Upper)
            ? $"{Cell.Number(point.Value)} [{Cell.Number(point.Lower)}, {Cell.Number(point.Upper)}]"
            : Cell.Number(point.Value);

    private static StringBuilder Begin(string title, int height) =>
        new StringBuilder().Append(
            CultureInfo.InvariantCulture,
            $"<svg class=\"plot\" role=\"img\" aria-label=\"{Cell.Html(title)}\" viewBox=\"0 0 {Width} {height}\">"
        );

    private static void Text(StringBuilder svg, double x, double y, string text, string kind, string anchor) =>
        svg.Append(
            CultureInfo.InvariantCulture,
            $"<text{(kind.Length == 0 ? string.Empty : $" class=\"{kind}\"")} x=\"{x:0.#}\" y=\"{y:0.#}\" "
                + $"text-anchor=\"{anchor}\">{Cell.Html(text)}</text>"
        );

    private static void Legend(StringBuilder svg, IReadOnlyList<string> names, int left, int top)
    {
        if (names.Count < 2)
        {
            return;
        }

        foreach (var (index, name) in names.Index())
        {
            var (x, y) = (left + (index % 3 * 256), top + (index / 3 * 20));
            svg.Append(CultureInfo.InvariantCulture, $"<g class=\"c{index % Colours}\"><path class=\"line\" d=\"M{x} {y - 4}h24\"/>");
            Marker(svg, index, x + 12, y - 4, name);
            svg.Append("</g>");
            Text(svg, x + 31, y, name.Length > 32 ? name[..31] + "…" : name, "", "start");
        }
    }

    private static void Marker(StringBuilder svg, int index, double x, double y, string title)
    {
        svg.Append(CultureInfo.InvariantCulture, $"<path class=\"dot\" d=\"M{x:0.#} {y:0.#}");
        svg.Append(
            (index % 4) switch
            {
                0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
                1 => "m-3.6 -3.6h7.2v7.2h-7.2z",
                2 => "m0 -4.6l4.4 7.6h-8.8z",
                _ => "m0 -5l5 5l-5 5l-5 -5z",
            }
        );
        svg.Append(CultureInfo.InvariantCulture, $"\"><title>{Cell.Html(title)}</title></path>");
    }

    /// <summary>An axis from one round number to another.</summary>
    private sealed record Axis(double Low, double High, double Step, bool Logarithmic)
    {
        public static Axis Over(IEnumerable<double> values, bool logarithmic)
        {
            var finite = values.Where(double.IsFinite).DefaultIfEmpty(0).ToList();
            var (low, high) = (finite.Min(), finite.Max());
            if (high - low < 1e-12 * Math.Max(1, Math.Abs(high)))
            {
                (low, high) = (low - 0.5, high + 0.5);
            }

            var raw = (high - low) / 5;
            var power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
            var step = logarithmic
                ? Math.Max(1, Math.Round(raw))
                : power
                    * (
                        (raw / power) switch
                        {
                            <= 1 => 1,
                            <= 2 => 2,
                            <= 5 => 5,
                            _ => 10,
                        }
                    );
            return new Axis(Math.Floor((low / step) + 1e-9) * step, Math.Ceiling((high / step) - 1e-9) * step, step, logarithmic);
        }

        public double Share(double value) => (value - Low) / (High - Low);

        public IEnumerable<(double Value, string Text)> Ticks() =>
            Enumerable
                .Range(0, (int)Math.Round((High - Low) / Step) + 1)
                .Select(i =>
                {
                    // The tick at zero is zero itself, not a rest of rounding.
                    var value = Math.Abs(Low + (i * Step)) < Step * 1e-9 ? 0 : Low + (i * Step);
                    return (value, Logarithmic ? Cell.Number(Math.Pow(10, value)) : Cell.Number(value));
                });
    }
}
