using Influence.Numerics;

namespace Influence.Selection;

/// <summary>
/// Finds texts that are nearly the same, before anything is scored or picked: texts are sets of shingles (runs of words), and two are
/// near-duplicates when the sets' Jaccard similarity, shared over all, reaches <see cref="Similarity"/>. One of each cluster is kept.
/// </summary>
/// <remarks>
/// MinHash (Broder, 1997) with bands finds candidates in time that grows with N, and each candidate pair is then compared exactly, so that
/// nothing is called a duplicate that is none; what is missed is a pair whose signatures agree in no band: with 128 hashes in bands of r, a
/// pair of similarity s is seen with probability <c>1 - (1 - s^r)^(128 / r)</c>, and r is the largest for which that is 0.99 at
/// <see cref="Similarity"/>. Cost: 128 hashes a shingle; memory of all shingles' hashes. Lee et al., "Deduplicating Training Data Makes
/// Language Models Better", 2022.
/// </remarks>
/// <example>
/// <code>
/// var found = new NearDuplicates().Find(texts, train.Ids);
/// var once = train.Only(found.Kept);
/// </code>
/// </example>
public sealed record NearDuplicates
{
    private const int Hashes = 128;
    private static readonly ulong[] s_keys = [.. Enumerable.Range(0, Hashes).Select(h => KeyedRandom.Mix((ulong)h))];
    private const double Seen = 0.99;

    /// <summary>The Jaccard similarity from which two texts count as the same.</summary>
    /// <value>0.8.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double Similarity
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 0.8;

    /// <summary>Words of a shingle; a shorter text is one shingle.</summary>
    /// <value>5.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int ShingleWords
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 5;

    /// <summary>Finds clusters of near-duplicates. Case, and what parts words, make no difference; texts without a word are duplicates of
    /// each other.</summary>
    /// <param name="texts">N texts.</param>
    /// <param name="ids">N ids; unless given, 0, 1, 2, ...</param>
    /// <returns>The clusters, and what is kept.</returns>
    /// <exception cref="InfluenceException">Lists of unlike length, or ids that repeat.</exception>
    public Result Find(IReadOnlyList<string> texts, IReadOnlyList<long>? ids = null)
    {
        ArgumentNullException.ThrowIfNull(texts);
        ids ??= [.. Enumerable.Range(0, texts.Count).Select(i => (long)i)];
        if (ids.Count != texts.Count || ids.Distinct().Count() != ids.Count)
        {
            throw new InfluenceException(
                $"One id for each text is expected, and no id twice; found {texts.Count} texts and {ids.Count} "
                    + $"ids ({ids.Distinct().Count()} different)."
            );
        }

        ulong[][] shingles = [.. texts.Select(Shingles)];
        ulong[][] signatures = [.. shingles.Select(Signature)];
        var rows = Rows();
        var pairs = new Dictionary<(int, int), double>();
        for (var band = 0; band + rows <= Hashes; band += rows)
        {
            foreach (
                var bucket in Enumerable
                    .Range(0, texts.Count)
                    .GroupBy(i => Fold(signatures[i].AsSpan(band, rows)))
                    .Where(b => b.Skip(1).Any())
            )
            {
                int[] members = [.. bucket];
                for (var a = 0; a < members.Length; a++)
                {
                    for (var b = a + 1; b < members.Length; b++)
                    {
                        if (!pairs.ContainsKey((members[a], members[b])))
                        {
                            pairs[(members[a], members[b])] = Jaccard(shingles[members[a]], shingles[members[b]]);
                        }
                    }
                }
            }
        }

        return new Result(ids, [.. pairs.Where(p => p.Value >= Similarity).Select(p => (p.Key.Item1, p.Key.Item2, p.Value))]);
    }

    /// <summary>The most rows of a band by which a pair at the threshold is still seen.</summary>
    internal int Rows()
    {
        var rows = 1;
        for (var more = 2; more <= Hashes && 1 - Math.Pow(1 - Math.Pow(Similarity, more), Hashes / more) >= Seen; more++)
        {
            rows = more;
        }

        return rows;
    }

    internal ulong[] Shingles(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        ulong[] words =
        [
            .. new string([.. text.Select(c => char.IsLetterOrDigit(c) ? char.ToLowerInvariant(c) : ' ')])
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(word => KeyedRandom.Key(0, word)),
        ];
        var count = Math.Max(1, words.Length - ShingleWords + 1);
        var found = new HashSet<ulong>();
        for (var i = 0; i < count; i++)
        {
            found.Add(Fold(words.AsSpan(i, Math.Min(ShingleWords, words.Length - i))));
        }

        return [.. found.Order()];
    }

    internal static double Jaccard(ulong[] a, ulong[] b)
    {
        var (i, j, shared) = (0, 0, 0);
        while (i < a.Length && j < b.Length)
        {
            switch (a[i].CompareTo(b[j]))
            {
                case 0:
                    (i, j, shared) = (i + 1, j + 1, shared + 1);
                    break;
                case < 0:
                    i++;
                    break;
                default:
                    j++;
                    break;
            }
        }

        return (double)shared / (a.Length + b.Length - shared);
    }

    /// <summary>The least of each of the hashes over the shingles: two texts agree at a place with the probability of their Jaccard
    /// similarity.</summary>
    internal static ulong[] Signature(ulong[] shingles)
    {
        var signature = new ulong[Hashes];
        Array.Fill(signature, ulong.MaxValue);
        foreach (var shingle in shingles)
        {
            for (var h = 0; h < Hashes; h++)
            {
                signature[h] = Math.Min(signature[h], KeyedRandom.Mix(shingle ^ s_keys[h]));
            }
        }

        return signature;
    }

    private static ulong Fold(ReadOnlySpan<ulong> parts)
    {
        var hash = 0UL;
        foreach (var part in parts)
        {
            hash = KeyedRandom.Mix(hash ^ part);
        }

        return hash;
    }

    /// <summary>Clusters of near-duplicates: texts that pairs connect, directly or by way of others.</summary>
    public sealed class Result
    {
        internal Result(IReadOnlyList<long> ids, IReadOnlyList<(int First, int Second, double Similarity)> pairs)
        {
            int[] parents = [.. Enumerable.Range(0, ids.Count)];
            foreach (var (first, second, _) in pairs)
            {
                parents[Root(first)] = Root(second);
            }

            Pairs = [.. pairs.Select(p => (ids[p.First], ids[p.Second], p.Similarity)).OrderBy(p => p.Item1).ThenBy(p => p.Item2)];
            Clusters =
            [
                .. Enumerable
                    .Range(0, ids.Count)
                    .GroupBy(Root)
                    .Where(c => c.Skip(1).Any())
                    .Select(c => (IReadOnlyList<long>)[.. c.Select(i => ids[i]).Order()])
                    .OrderBy(c => c[0]),
            ];
            var dropped = Clusters.SelectMany(c => c.Skip(1)).ToHashSet();
            Kept = [.. ids.Where(id => !dropped.Contains(id))];

            int Root(int i)
            {
                while (parents[i] != i)
                {
                    i = parents[i] = parents[parents[i]];
                }

                return i;
            }
        }

        /// <summary>The pairs that reach the similarity, and theirs.</summary>
        public IReadOnlyList<(long First, long Second, double Similarity)> Pairs { get; }

        /// <summary>The clusters of two and more, ids ascending.</summary>
        public IReadOnlyList<IReadOnlyList<long>> Clusters { get; }

        /// <summary>The ids without the duplicates, in their order: of each cluster the lowest stays.</summary>
        public IReadOnlyList<long> Kept { get; }
    }
}
