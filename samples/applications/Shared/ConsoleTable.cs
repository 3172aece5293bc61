using Spectre.Console;

namespace Samples;

/// <summary>A table on the console; its first row names the columns.</summary>
internal static class ConsoleTable
{
    public static void Write(IEnumerable<IReadOnlyList<string>> rows)
    {
        var all = rows.ToList();
        var table = new Table { Border = TableBorder.Simple };
        foreach (var (name, example) in all[0].Zip(all[^1]))
        {
            // Numbers, and the names above them, stand at the right.
            table.AddColumn(new TableColumn(new Text(name)) { Alignment = IsNumber(example) ? Justify.Right : Justify.Left });
        }

        foreach (var row in all.Skip(1))
        {
            table.AddRow(row.Select(cell => new Text(cell)));
        }

        Terminal.Out.Write(table);
    }

    private static bool IsNumber(string cell) => cell.Length > 0 && char.IsAsciiDigit(cell[^1]) || cell.EndsWith('%');
}
