using System.Text.Json;

namespace Influence.Benchmarks.Reporting;

/// <summary>Writes the report beside those of other days and devices.</summary>
internal static class ReportFiles
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public static IEnumerable<string> Write(Report report, string folder, string markdown)
    {
        Directory.CreateDirectory(folder);
        var device = report.Device.Split(':')[0];
        var name = $"{report.Date}-{device}{(report.Quick ? "-quick" : string.Empty)}";
        var (json, table) = (Path.Combine(folder, $"{name}.json"), Path.Combine(folder, $"{name}.md"));
        File.WriteAllText(json, JsonSerializer.Serialize(report, Format) + "\n");
        File.WriteAllText(table, markdown);
        return [json, table];
    }
}
