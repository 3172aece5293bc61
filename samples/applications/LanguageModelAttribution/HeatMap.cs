using System.Globalization;
using System.Text;

namespace LanguageModelAttribution;

/// <summary>A passage with each character coloured by its share in a score: blue speaks for the query, red against it.</summary>
internal static class HeatMap
{
    private const int Levels = 10;

    // Text must stay readable on the strongest colour, on light and on dark.
    private const double Strongest = 0.6;

    /// <summary>The colours: f1 to f10 for, a1 to a10 against.</summary>
    public static string Style { get; } = string.Join(
        '\n',
        Enumerable.Range(1, Levels).Select(level => string.Create(
            CultureInfo.InvariantCulture,
            $".f{level} {{ background: rgba(42, 128, 220, {Strongest * level / Levels:0.00}); }} " +
            $".a{level} {{ background: rgba(220, 70, 60, {Strongest * level / Levels:0.00}); }}")));

    /// <param name="passage">The passage.</param>
    /// <param name="values">A value for each byte; those of one character are added up.</param>
    public static string Draw(Passage passage, IReadOnlyList<double> values)
    {
        var characters = passage.Characters().Select(character => (character.Text, Value: Sum(values, character))).ToList();
        var largest = characters.Max(character => Math.Abs(character.Value));
        var html = new StringBuilder();
        foreach (var (text, value) in characters)
        {
            var encoded = HtmlPage.Encode(text == "\n" ? "\u23CE\n" : text);
            var level = largest > 0 ? (int)Math.Round(Levels * Math.Abs(value) / largest) : 0;
            html.Append(level == 0
                ? encoded
                : string.Create(
                    CultureInfo.InvariantCulture, $"<i class=\"{(value > 0 ? 'f' : 'a')}{level}\" title=\"{value:G3}\">{encoded}</i>"));
        }

        return html.ToString();
    }

    private static double Sum(IReadOnlyList<double> values, Character character) =>
        Enumerable.Range(character.Start, character.Length).Sum(i => values[i]);
}
