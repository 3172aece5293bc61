using System.Buffers;
using System.Text;

namespace Samples.Language;

/// <summary>A character of a passage.</summary>
/// <param name="Start">Its first byte.</param>
/// <param name="Length">How many bytes make it; several outside ASCII.</param>
/// <param name="Text">The character; a byte that is no UTF-8 as its hexadecimal value.</param>
internal readonly record struct Character(int Start, int Length, string Text);

/// <summary>Up to 128 bytes of UTF-8 text: the unit that the model is trained on and that scores are about.</summary>
/// <param name="Domain">The position of its domain in the corpus.</param>
/// <param name="Bytes">The text; one token is one byte.</param>
internal sealed record Passage(int Domain, byte[] Bytes)
{
    public const int MostBytes = 128;

    public override string ToString() => string.Concat(Characters().Select(c => c.Text));

    /// <summary>The bytes, joined to the characters that they make.</summary>
    public IEnumerable<Character> Characters()
    {
        for (var start = 0; start < Bytes.Length; )
        {
            // A model may well write bytes that are no UTF-8: such a byte stands for itself.
            var valid = Rune.DecodeFromUtf8(Bytes.AsSpan(start), out var rune, out var length) == OperationStatus.Done;
            length = valid ? length : 1;
            yield return new Character(start, length, valid ? rune.ToString() : $"\\x{Bytes[start]:X2}");
            start += length;
        }
    }

    /// <summary>The bytes without a character at the end that is only begun.</summary>
    public int CompleteLength()
    {
        for (var length = 1; length < 4 && length <= Bytes.Length; length++)
        {
            if (Rune.DecodeFromUtf8(Bytes.AsSpan(Bytes.Length - length), out _, out _) == OperationStatus.NeedMoreData)
            {
                return Bytes.Length - length;
            }
        }

        return Bytes.Length;
    }

    /// <summary>
    /// A text with every run of blanks made one (line ends stay), composed, and cut to at most 128 bytes between two characters.
    /// </summary>
    public static Passage FromText(int domain, string text)
    {
        var normalized = Normalize(text);
        var length = 0;
        foreach (var rune in normalized.EnumerateRunes())
        {
            if (length + rune.Utf8SequenceLength > MostBytes)
            {
                break;
            }

            length += rune.Utf8SequenceLength;
        }

        return new Passage(domain, Encoding.UTF8.GetBytes(normalized)[..length]);
    }

    /// <summary>Texts one after the other, each once, cut into windows of 128 bytes; a window may hold the end of one and the beginning of
    /// the next, as language models are trained.</summary>
    public static IEnumerable<Passage> WindowsOf(int domain, IEnumerable<string> texts)
    {
        var bytes = Encoding.UTF8.GetBytes(string.Join('\n', texts.Select(Normalize).Where(text => text.Length > 0).Distinct()));
        return bytes.Chunk(MostBytes).Where(window => window.Length == MostBytes).Select(window => new Passage(domain, window));
    }

    /// <summary>A text with every run of blanks made one (line ends stay), composed.</summary>
    public static string Normalize(string text)
    {
        var lines = text.Normalize(NormalizationForm.FormC).ReplaceLineEndings("\n").Split('\n');
        return string.Join('\n', lines.Select(line => string.Join(' ', line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))));
    }
}
