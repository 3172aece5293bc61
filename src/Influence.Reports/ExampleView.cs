using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Reports;

/// <summary>
/// How an example is shown in a report: a picture, a text, tokens with scores, a row of a table, or several of these. Every text is shown
/// as text, whatever it holds.
/// </summary>
public sealed record ExampleView
{
    /// <summary>The label, by which the report filters; empty for none.</summary>
    public string Label { get; init; } = string.Empty;

    /// <summary>A word that makes the example stand out, as "flipped" or "wrong"; empty for none.</summary>
    public string Mark { get; init; } = string.Empty;

    /// <summary>The text; empty for none.</summary>
    public string Text { get; init; } = string.Empty;

    /// <summary>Names and values that are listed, as the columns of a table's row.</summary>
    public IReadOnlyList<(string Name, string Value)> Fields { get; init; } = [];

    internal Picture? Image { get; init; }

    internal IReadOnlyList<TokenStrip> Strips { get; init; } = [];

    /// <summary>A picture from its tensor.</summary>
    /// <param name="image"><c>[H, W]</c>, or <c>[C, H, W]</c> with 1 (grey), 3 (RGB) or 4 (RGBA) channels; bytes, or a float type. It is
    /// only read.</param>
    /// <param name="range">What is black and what is white in a float tensor; null for 0 and 1. A normalised picture needs its own: <c>(-1,
    /// 1)</c>.</param>
    /// <returns>The view.</returns>
    /// <exception cref="InfluenceException">Another shape or type, values that are no numbers or outside the range, or an empty
    /// range.</exception>
    public static ExampleView FromImage(Tensor image, (double Low, double High)? range = null)
    {
        ArgumentNullException.ThrowIfNull(image);
        return new ExampleView { Image = Picture.From(image, range) };
    }

    /// <summary>A picture from its bytes.</summary>
    /// <param name="pixels">Row by row, the channels of a pixel side by side.</param>
    /// <param name="width">Pixels in a row.</param>
    /// <param name="channels">1 (grey), 3 (RGB) or 4 (RGBA).</param>
    /// <returns>The view.</returns>
    /// <exception cref="InfluenceException">The bytes do not fill whole rows.</exception>
    public static ExampleView FromImage(ReadOnlySpan<byte> pixels, int width, int channels = 1) =>
        new() { Image = Picture.From(pixels, width, channels) };

    /// <summary>A text.</summary>
    /// <param name="text">The text; its lines stay.</param>
    /// <returns>The view.</returns>
    public static ExampleView FromText(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return new ExampleView { Text = text };
    }

    /// <summary>Tokens, each coloured by its score: blue for positive, red and underlined for negative, the largest in full
    /// colour.</summary>
    /// <param name="tokens">The tokens' texts; joined they are the text.</param>
    /// <param name="scores">One score for each.</param>
    /// <param name="name">What the scores are.</param>
    /// <returns>The view.</returns>
    /// <exception cref="InfluenceException">Lists of unlike length.</exception>
    public static ExampleView FromTokens(IReadOnlyList<string> tokens, IReadOnlyList<double> scores, string name = "score") =>
        new ExampleView().WithTokens(tokens, scores, name);

    /// <summary>A row of a table.</summary>
    /// <param name="cells">Names and values.</param>
    /// <returns>The view.</returns>
    public static ExampleView FromRow(params IReadOnlyList<(string Name, object? Value)> cells)
    {
        ArgumentNullException.ThrowIfNull(cells);
        return new ExampleView { Fields = [.. cells.Select(cell => (cell.Name, Cell.Text(cell.Value)))] };
    }

    /// <summary>The same view with another scoring of tokens; the first one is shown at once, the others on demand.</summary>
    /// <param name="tokens">The tokens' texts.</param>
    /// <param name="scores">One score for each.</param>
    /// <param name="name">What the scores are.</param>
    /// <returns>The view.</returns>
    /// <exception cref="InfluenceException">Lists of unlike length.</exception>
    public ExampleView WithTokens(IReadOnlyList<string> tokens, IReadOnlyList<double> scores, string name = "score")
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(name);
        return tokens.Count == scores.Count
            ? this with
            {
                Strips = [.. Strips, new TokenStrip(name, [.. tokens], [.. scores])],
            }
            : throw new InfluenceException($"One score for each token is expected; found {tokens.Count} tokens and {scores.Count} scores.");
    }

    /// <summary>A scoring of tokens.</summary>
    /// <param name="Name">What the scores are.</param>
    /// <param name="Tokens">The tokens' texts.</param>
    /// <param name="Scores">One for each.</param>
    internal sealed record TokenStrip(string Name, string[] Tokens, double[] Scores);
}
