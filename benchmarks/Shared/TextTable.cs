using System.Text;

namespace Influence.Benchmarks.Shared;

/// <summary>A Markdown table whose columns line up, so that it reads as well on a terminal.</summary>
internal sealed class TextTable(params string[] columns)
{
    private readonly List<string[]> _rows = [];

    public void Add(params string[] cells) => _rows.Add(cells);

    public override string ToString()
    {
        var widths = columns.Select((column, i) => _rows.Select(row => row[i].Length).Append(column.Length).Append(3).Max()).ToArray();
        var text = new StringBuilder();
        Line(columns);
        text.Append('|');
        for (var i = 0; i < widths.Length; i++)
        {
            text.Append(i == 0 ? $" {new string('-', widths[i])} |" : $" {new string('-', widths[i] - 1)}: |");
        }

        text.AppendLine();
        _rows.ForEach(Line);
        return text.ToString();

        void Line(string[] cells)
        {
            text.Append('|');
            for (var i = 0; i < cells.Length; i++)
            {
                text.Append(i == 0 ? $" {cells[i].PadRight(widths[i])} |" : $" {cells[i].PadLeft(widths[i])} |");
            }

            text.AppendLine();
        }
    }
}
