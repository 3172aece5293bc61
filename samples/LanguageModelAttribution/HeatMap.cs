using System.Globalization;
using System.Text;

namespace LanguageModelAttribution;

/// <summary>A passage with each character coloured by its share in a score: blue speaks for the query, red against it.</summary>
internal static class HeatMap
{
    private const string For = "42, 128, 220";
    private const string Against = "220, 70, 60";

    // Text must stay readable on the strongest colour, on light and on dark.
    private const double Strongest = 0.6;
    private const double Faintest = 0.02;

    /// <param name="passage">The passage.</param>
    /// <param name="values">A value for each byte; those of one character are added up.</param>
    /// <param name="scale">The value of full colour.</param>
    public static string Draw(Passage passage, IReadOnlyList<double> values, double scale)
    {
        var html = new StringBuilder();
        foreach (var character in passage.Characters())
        {
            var text = HtmlPage.Encode(character.Text == "\n" ? "\u23CE\n" : character.Text);
            var value = Sum(values, character);
            var opacity = scale > 0 ? Strongest * Math.Min(1, Math.Abs(value) / scale) : 0;
            html.Append(opacity < Faintest
                ? text
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"<span style=\"background:rgba({(value > 0 ? For : Against)},{opacity:0.00})\" title=\"{value:G3}\">{text}</span>"));
        }

        return html.ToString();
    }

    /// <summary>The largest value of a character, without its sign.</summary>
    public static double LargestOf(Passage passage, IReadOnlyList<double> values) =>
        passage.Characters().Select(character => Math.Abs(Sum(values, character))).DefaultIfEmpty(0).Max();

    private static double Sum(IReadOnlyList<double> values, Character character) =>
        Enumerable.Range(character.Start, character.Length).Sum(i => values[i]);
}
