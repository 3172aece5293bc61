using Spectre.Console;

namespace Samples;

/// <summary>Standard output, as a terminal and as a file.</summary>
internal static class Terminal
{
    private const int LongestLine = 1000;

    /// <summary>Lines are as wide as the terminal, and as long as they come out where there is none.</summary>
    public static IAnsiConsole Out { get; } = Create();

    /// <summary>Whether what was written can be written over.</summary>
    public static bool IsLive => !Console.IsOutputRedirected && Out.Profile.Capabilities is { Ansi: true, Interactive: true };

    /// <summary>The cursor is hidden while bars move; a process that ends at once gives it back.</summary>
    public static void ShowCursor()
    {
        if (IsLive)
        {
            Out.Cursor.Show();
        }
    }

    private static IAnsiConsole Create()
    {
        var console = AnsiConsole.Console;
        if (Console.IsOutputRedirected)
        {
            console.Profile.Width = LongestLine;
        }

        return console;
    }
}
