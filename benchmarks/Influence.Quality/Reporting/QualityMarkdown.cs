using System.Globalization;
using System.Text;

namespace Influence.Quality.Reporting;

/// <summary>A part's report as Markdown; the same text goes to the terminal.</summary>
internal static class QualityMarkdown
{
    public static string Of(QualityReport report)
    {
        var (text, found) = (new StringBuilder(), report.Findings);
        text.AppendLine(CultureInfo.InvariantCulture, $"# {report.Key}: {report.Title}{(report.Quick ? " (quick: fewer)" : string.Empty)}");
        text.AppendLine(CultureInfo.InvariantCulture, $"");
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"{report.Date}{(report.Quick ? ", quick: a smaller set-up, not to be held against published figures" : string.Empty)}. "
                + $"{report.Seconds:F0} s, with the trainings that were not cached."
        );
        if (found.Results.Any(r => r.Damping.Length > 0 || !double.IsNaN(r.OneSeed)))
        {
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"Damping is chosen on a tenth of the queries; every figure is over the others. "
                    + $"Intervals: 95 percent, queries and subsets drawn again."
            );
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"One seed: against one retraining for each half in place of the mean over seeds, as published figures mostly are."
            );
        }

        foreach (var table in found.Tables)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"");
            text.Append(table);
        }

        foreach (var metric in found.Results.Select(r => r.Metric).Distinct())
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"");
            text.AppendLine(CultureInfo.InvariantCulture, $"## {metric}");
            text.AppendLine(CultureInfo.InvariantCulture, $"");
            text.Append(Table([.. found.Results.Where(r => r.Metric == metric)], found.Published.Where(p => p.Metric == metric)));
        }

        var swept = found.Results.Where(r => r.Sweep.Count > 1).ToList();
        if (swept.Count > 0)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"");
            text.AppendLine(CultureInfo.InvariantCulture, $"## By damping, on the held-out tenth");
            text.AppendLine(CultureInfo.InvariantCulture, $"");
            foreach (var result in swept)
            {
                text.AppendLine(
                    CultureInfo.InvariantCulture,
                    $"- {result.Method}: {string.Join(", ", result.Sweep.Select(p => $"{p.Damping}: {Number(p.Value)}"))}"
                );
            }
        }

        List(text, "Seen", found.Facts.Select(f => (f.Key, f.Value)));
        List(text, "Seconds of the trainings", found.Times.Select(t => (t.Key, t.Value.ToString("F1", CultureInfo.InvariantCulture))));
        List(text, "Settings", found.Settings.Select(s => (s.Key, s.Value)));
        List(text, "Machine", report.Machine.Select(m => (m.Key, m.Value)));
        return text.ToString();
    }

    private static TextTable Table(IReadOnlyList<Result> results, IEnumerable<Published> published)
    {
        // What a query loses by its strongest hundredth stands beside the LDS, where it was measured.
        var qld = results.Any(r => !double.IsNaN(r.Qld));
        string[] own = ["method", "value", "lower", "upper", "one seed", "over", "damping", "s"];
        var table = new TextTable([.. own, .. qld ? ["QLD x 1000", "lower", "upper"] : Array.Empty<string>()]);
        foreach (var r in results)
        {
            string[] cells =
            [
                r.Method,
                Number(r.Value),
                Number(r.Lower),
                Number(r.Upper),
                Number(r.OneSeed),
                r.Queries.ToString(CultureInfo.InvariantCulture),
                r.Damping,
                r.Seconds.ToString("F1", CultureInfo.InvariantCulture),
            ];
            table.Add([
                .. cells,
                .. qld ? [Number(1000 * r.Qld), Number(1000 * r.QldLower), Number(1000 * r.QldUpper)] : Array.Empty<string>(),
            ]);
        }

        foreach (var p in published)
        {
            table.Add([
                $"published: {p.Method} ({p.Source})",
                Number(p.Value),
                .. Enumerable.Repeat(string.Empty, own.Length - 2 + (qld ? 3 : 0)),
            ]);
        }

        return table;
    }

    private static void List(StringBuilder text, string title, IEnumerable<(string Name, string Value)> lines)
    {
        text.AppendLine(CultureInfo.InvariantCulture, $"");
        text.AppendLine(CultureInfo.InvariantCulture, $"## {title}");
        text.AppendLine(CultureInfo.InvariantCulture, $"");
        foreach (var (name, value) in lines)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {name}: {value}");
        }
    }

    private static string Number(double value) => double.IsNaN(value) ? string.Empty : value.ToString("F3", CultureInfo.InvariantCulture);
}
