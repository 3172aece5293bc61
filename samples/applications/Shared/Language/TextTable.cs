namespace Samples.Language;

/// <summary>A table in plain text; its first row names the columns.</summary>
internal static class TextTable
{
    public static void Write(TextWriter writer, IEnumerable<IReadOnlyList<string>> rows)
    {
        var all = rows.ToList();
        var widths = Enumerable.Range(0, all[0].Count).Select(column => all.Max(row => row[column].Length)).ToArray();
        foreach (var row in all)
        {
            // Numbers, and the names above them, stand at the right.
            var cells = row.Select(
                (cell, column) => IsNumber(all[^1][column]) ? cell.PadLeft(widths[column]) : cell.PadRight(widths[column])
            );
            writer.WriteLine(string.Join("  ", cells).TrimEnd());
        }
    }

    private static bool IsNumber(string cell) => cell.Length > 0 && char.IsAsciiDigit(cell[^1]) || cell.EndsWith('%');
}
