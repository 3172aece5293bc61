using System.Globalization;
using System.Text;

namespace Influence.Formats;

/// <summary>
/// Comma-separated values as RFC 4180 has them: one line of headers, numbers that read back the same, texts in quotes where they hold a
/// comma, a quote or a line end. UTF-8 without a mark, lines end in a line feed.
/// </summary>
internal static class Csv
{
    /// <summary>Writes the file whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="headers">The names of the columns.</param>
    /// <param name="rows">Cells: numbers and strings; read once, line by line.</param>
    public static void Save(string path, IReadOnlyList<string> headers, IEnumerable<IReadOnlyList<object>> rows)
    {
        ArgumentNullException.ThrowIfNull(path);
        AtomicFile.Write(
            path,
            stream =>
            {
                using var writer = new StreamWriter(stream, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), leaveOpen: true)
                {
                    NewLine = "\n",
                };
                writer.WriteLine(string.Join(',', headers));
                foreach (var row in rows)
                {
                    writer.WriteLine(string.Join(',', row.Select(Cell)));
                }
            }
        );
    }

    private static string Cell(object value) =>
        value switch
        {
            double number => number.ToString("R", CultureInfo.InvariantCulture),
            IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
            _ => Quoted(value.ToString() ?? string.Empty),
        };

    private static string Quoted(string text) =>
        text.AsSpan().IndexOfAny(",\"\r\n") < 0 ? text : $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}
