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
    public static string Draw(Passage passage, IReadOnlyList<double> values)
    {
        var html = new StringBuilder();
        var scale = passage.Characters().Max(character => Math.Abs(Sum(values, character)));
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

    private static double Sum(IReadOnlyList<double> values, Character character) =>
        Enumerable.Range(character.Start, character.Length).Sum(i => values[i]);
}
