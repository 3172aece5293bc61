using System.Text.Json;
using System.Text.Json.Serialization;

namespace Influence.Quality.Reporting;

/// <summary>Writes a part's report beside those of other days.</summary>
internal static class QualityFiles
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,

        // A figure without an interval has ends that are no numbers.
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    public static IEnumerable<string> Write(QualityReport report, string folder, string markdown)
    {
        Directory.CreateDirectory(folder);
        var name = $"{report.Date}-quality-{report.Key}{(report.Quick ? "-quick" : string.Empty)}";
        var (json, table) = (Path.Combine(folder, $"{name}.json"), Path.Combine(folder, $"{name}.md"));
        File.WriteAllText(json, JsonSerializer.Serialize(report, Format) + "\n");
        File.WriteAllText(table, markdown);
        return [json, table];
    }
}
