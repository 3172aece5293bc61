using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;

namespace Influence.Quality.Data;

/// <summary>
/// The words of a raw e-mail: its subject and body without what tells where the collection has it from. All other headers go, and with them
/// list tags in the subject, addresses, links, mark-up and attachments.
/// </summary>
internal static partial class MailText
{
    // Written into both kinds by those who collected them, in place of real names.
    private static readonly HashSet<string> s_ofTheCollection =
    [
        "spamassassin",
        "taint",
        "netnoteinc",
        "jmason",
        "jm",
        "zzzz",
        "yyyy",
        "zzzzason",
    ];

    /// <summary>Lower-case words of 2 to 20 letters, in order.</summary>
    public static IReadOnlyList<string> Words(string mail)
    {
        var text = mail.Replace("\r\n", "\n", StringComparison.Ordinal);
        var end = text.IndexOf("\n\n", StringComparison.Ordinal);
        var (head, body) = end < 0 ? (text, string.Empty) : (text[..end], text[(end + 2)..]);
        var subject = Tag().Replace(Subject().Match(head).Groups[1].Value, " ");
        if (WholeBase64().IsMatch(head))
        {
            body = Decoded(body);
        }

        body = PartHeader().Replace(Base64Line().Replace(body, " "), " ");
        body = Quoted()
            .Replace(
                SoftBreak().Replace(body, string.Empty),
                m => ((char)int.Parse(m.Groups[1].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToString()
            );
        body = WebUtility.HtmlDecode(MarkUp().Replace(Script().Replace(body, " "), " "));
        var words = Word().Matches(Address().Replace($"{subject} {body}", " ").ToLowerInvariant()).Select(m => m.Value);
        return [.. words.Where(w => !s_ofTheCollection.Contains(w))];
    }

    private static string Decoded(string body)
    {
        try
        {
            return Encoding.Latin1.GetString(Convert.FromBase64String(string.Concat(body.Where(c => !char.IsWhiteSpace(c)))));
        }
        catch (FormatException)
        {
            return string.Empty;
        }
    }

    [GeneratedRegex(@"^Subject:((?:.*)(?:\n[ \t].*)*)", RegexOptions.Multiline | RegexOptions.IgnoreCase)]
    private static partial Regex Subject();

    [GeneratedRegex(@"\[[^\]]*\]|\b(?:re|fw|fwd):", RegexOptions.IgnoreCase)]
    private static partial Regex Tag();

    [GeneratedRegex(@"^Content-Transfer-Encoding:\s*base64", RegexOptions.Multiline | RegexOptions.IgnoreCase)]
    private static partial Regex WholeBase64();

    [GeneratedRegex(@"^[A-Za-z0-9+/=]{60,}$", RegexOptions.Multiline)]
    private static partial Regex Base64Line();

    [GeneratedRegex(
        @"^(?:Content-[A-Za-z-]+:.*(?:\n[ \t].*)*|--\S{8,}|This is a multi-part message.*)$",
        RegexOptions.Multiline | RegexOptions.IgnoreCase
    )]
    private static partial Regex PartHeader();

    [GeneratedRegex(@"=\n")]
    private static partial Regex SoftBreak();

    [GeneratedRegex(@"=([0-9A-F]{2})")]
    private static partial Regex Quoted();

    [GeneratedRegex(@"<(script|style)\b.*?</\1>", RegexOptions.Singleline | RegexOptions.IgnoreCase)]
    private static partial Regex Script();

    [GeneratedRegex(@"<[^<>]{0,2000}>")]
    private static partial Regex MarkUp();

    [GeneratedRegex(@"\S+@\S+|\b(?:https?|ftp)://\S+|\bwww\.\S+")]
    private static partial Regex Address();

    [GeneratedRegex(@"(?<![a-z])[a-z]{2,20}(?![a-z])")]
    private static partial Regex Word();
}
