using System.Diagnostics;
using Influence;

namespace Samples;

/// <summary>
/// Live progress: on a terminal one line that is written over, elsewhere (a file, a pipe) a line every few seconds.
/// </summary>
internal sealed class ConsoleProgress : IProgress<InfluenceProgress>, IDisposable
{
    private readonly bool _isTerminal = !Console.IsOutputRedirected;
    private readonly TimeSpan _interval;
    private readonly Stopwatch _sinceLast = Stopwatch.StartNew();
    private int _written;

    public ConsoleProgress() => _interval = _isTerminal ? TimeSpan.FromSeconds(0.1) : TimeSpan.FromSeconds(5);

    /// <summary>What is under way, before each report's own words; empty for nothing.</summary>
    public string Purpose { get; set; } = string.Empty;

    public void Report(InfluenceProgress value)
    {
        if (_sinceLast.Elapsed < _interval)
        {
            return;
        }

        _sinceLast.Restart();
        var text = Purpose.Length == 0 ? value.ToString() : $"{Purpose}: {value}";
        if (_isTerminal)
        {
            Rewrite(text);
        }
        else
        {
            Console.WriteLine(text);
        }
    }

    /// <summary>Takes the live line away, so that other output begins on an empty one.</summary>
    public void Clear()
    {
        if (_written > 0)
        {
            Rewrite(string.Empty);
            Console.Write('\r');
        }
    }

    public void Dispose() => Clear();

    private void Rewrite(string text)
    {
        // A line that wraps could not be written over. Some terminals do not tell their width.
        var width = Console.WindowWidth > 1 ? Console.WindowWidth - 1 : 79;
        var line = text.Length <= width ? text : text[..width];
        Console.Write($"\r{line.PadRight(Math.Min(_written, width))}");
        _written = line.Length;
    }
}
