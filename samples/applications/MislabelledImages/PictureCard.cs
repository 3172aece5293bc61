using System.Net;

namespace MislabelledImages;

/// <summary>A picture with a few lines of text below it.</summary>
/// <param name="PictureUri">The picture's address.</param>
/// <param name="Lines">Lines of text.</param>
/// <param name="Score">A last line, in grey; empty for none.</param>
/// <param name="Mark">A line that stands out; empty for none.</param>
/// <param name="Kind">The page's style for the card: flipped, wrong or none.</param>
internal sealed record PictureCard(
    string PictureUri, IReadOnlyList<string> Lines, string Score = "", string Mark = "", string Kind = "")
{
    public string ToHtml() => $"""
        <div class="card {Encode(Kind)}"><img src="{Encode(PictureUri)}" alt="{Encode(Lines[0])}">
        {string.Concat(Lines.Select(line => $"<div>{Encode(line)}</div>"))}{Line("mark", Mark)}{Line("score", Score)}
        </div>
        """;

    private static string Line(string kind, string text) =>
        text.Length == 0 ? string.Empty : $"<div class=\"{kind}\">{Encode(text)}</div>";

    private static string Encode(string text) => WebUtility.HtmlEncode(text);
}
