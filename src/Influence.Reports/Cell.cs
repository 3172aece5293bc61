using System.Globalization;
using System.Net;
using System.Text;

namespace Influence.Reports;

/// <summary>Values and texts, made fit for a page.</summary>
internal static class Cell
{
    /// <summary>A number in few digits, a text as it is.</summary>
    public static string Text(object? value) =>
        value switch
        {
            null => string.Empty,
            string text => text,
            double number => Number(number),
            float number => Number(number),
            IFormattable formattable => formattable.ToString(value is int or long ? "N0" : null, CultureInfo.InvariantCulture),
            _ => value.ToString() ?? string.Empty,
        };

    public static string Number(double value) =>
        !double.IsFinite(value)
            ? (
                double.IsNaN(value) ? ""
                : value > 0 ? "∞"
                : "-∞"
            )
            : value.ToString(Format(Math.Abs(value)), CultureInfo.InvariantCulture);

    private static string Format(double size) =>
        size switch
        {
            0 => "0",
            < 1e-3 or >= 1e6 => "0.###e0",
            < 10 => "0.####",
            < 100 => "0.##",
            < 1000 => "0.#",
            _ => "#,0",
        };

    public static string Html(object? value) => WebUtility.HtmlEncode(Clean(Text(value)));

    /// <summary>Halves of surrogate pairs, and control characters, have no place in a file of text.</summary>
    public static string Clean(string text)
    {
        StringBuilder? clean = null;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            var whole = char.IsHighSurrogate(c) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
            if (whole || (!char.IsSurrogate(c) && (!char.IsControl(c) || c is '\n' or '\t')))
            {
                clean?.Append(c);
                if (whole)
                {
                    clean?.Append(text[i + 1]);
                    i++;
                }

                continue;
            }

            clean ??= new StringBuilder(text, 0, i, text.Length);
            clean.Append('\uFFFD');
        }

        return clean?.ToString() ?? text;
    }
}
