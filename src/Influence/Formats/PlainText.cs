using System.Globalization;
using System.Text;

namespace Influence.Formats;

/// <summary>
/// Text that came from a file or a caller, made fit for a message: characters that a terminal would obey are written out, and
/// no name fills the screen.
/// </summary>
internal static class PlainText
{
    /// <summary>Of a name, an entry or a line of a file, at most so many characters are quoted.</summary>
    public const int LongestName = 200;

    /// <summary>No message is longer, whatever it lists.</summary>
    public const int LongestMessage = 20_000;

    /// <summary>A name to be quoted in one line.</summary>
    public static string Name(string? text) => Escape(Cut(text ?? string.Empty, LongestName), keepLines: false);

    /// <summary>A whole message: its lines stay.</summary>
    public static string Message(string? text) => Escape(Cut(text ?? string.Empty, LongestMessage), keepLines: true);

    /// <summary>A text of a file that is to be kept whole: its lines stay.</summary>
    public static string Lines(string text) => Escape(text, keepLines: true);

    private static string Cut(string text, int longest) =>
        text.Length <= longest
            ? text
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{text.AsSpan(0, longest * 3 / 4)}...{text.AsSpan(text.Length - (longest / 8))} ({text.Length:N0} characters)"
            );

    private static string Escape(string text, bool keepLines)
    {
        StringBuilder? escaped = null;
        for (var i = 0; i < text.Length; i++)
        {
            var harmless = IsHarmless(text, i, keepLines);
            if (!harmless && escaped is null)
            {
                escaped = new StringBuilder(text, 0, i, text.Length + 16);
            }

            _ = harmless ? escaped?.Append(text[i]) : escaped!.Append(CultureInfo.InvariantCulture, $"\\u{(int)text[i]:x4}");
        }

        return escaped?.ToString() ?? text;
    }

    private static bool IsHarmless(string text, int at, bool keepLines)
    {
        var c = text[at];
        return c switch
        {
            >= ' ' and <= '~' => true,
            '\n' or '\t' => keepLines,
            '\r' => keepLines && at + 1 < text.Length && text[at + 1] == '\n',

            // What turns the direction of writing, or ends a line unseen.
            '\u200e' or '\u200f' or '\u2028' or '\u2029' or (>= '\u202a' and <= '\u202e') or (>= '\u2066' and <= '\u2069') or '\ufeff' =>
                false,
            _ when char.IsHighSurrogate(c) => at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]),
            _ when char.IsLowSurrogate(c) => at > 0 && char.IsHighSurrogate(text[at - 1]),
            _ => !char.IsControl(c),
        };
    }
}
