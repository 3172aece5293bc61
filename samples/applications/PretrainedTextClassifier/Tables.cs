namespace PretrainedTextClassifier;

/// <summary>Tables that are printed as they come, and kept for the page.</summary>
internal sealed class Tables(ConsoleProgress progress)
{
    private readonly List<(string Title, string Text, IReadOnlyList<IReadOnlyList<string>> Rows)> _all = [];

    public IReadOnlyList<(string Title, string Text, IReadOnlyList<IReadOnlyList<string>> Rows)> All => _all;

    public void Add(string title, string text, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        _all.Add((title, text, rows));
        Print(title, rows);
    }

    public void Print(string title, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        progress.Clear();
        Console.WriteLine($"\n{title}");
        ConsoleTable.Write(rows);
    }
}
