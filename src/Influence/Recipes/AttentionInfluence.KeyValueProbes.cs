using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Recipes;

public sealed partial record AttentionInfluence
{
    /// <summary>
    /// A synthetic copy task: pairs of a key and a value, then questions with their answers, then one question more. The answer, the value
    /// of the last key, stands once before, and can only be copied from there.
    /// <code>k1 v1  k2 v2 ... kn vn   k7 v7  k3 v3  ...  k5 [v5]</code>
    /// where each key and value is a run of tokens, the questions before the last are the <see cref="Shots"/>, and what stands between and
    /// around keys and values is <see cref="Opening"/>, <see cref="Separator"/> and <see cref="Closing"/>.
    /// </summary>
    /// <remarks>
    /// Keys and values are drawn from the vocabulary: all tokens different in a sequence where the vocabulary is large enough for that,
    /// else only the keys. The paper draws 800 documents of JSON with 3 shots and at most 4,096 tokens; on a model of text give tokens that
    /// are words, and JSON's punctuation as separators. Reference: Hua et al., "AttentionInfluence", 2025, section 3.1.
    /// </remarks>
    public sealed record KeyValueProbes
    {
        /// <summary>Makes the task.</summary>
        /// <param name="vocabulary">The token ids to draw from; at least two, no id twice; copied.</param>
        /// <exception cref="InfluenceException">Fewer than two, an id twice, or one below zero.</exception>
        public KeyValueProbes(IEnumerable<long> vocabulary)
        {
            ArgumentNullException.ThrowIfNull(vocabulary);
            long[] tokens = [.. vocabulary];
            Vocabulary =
                tokens.Length >= 2 && tokens.Distinct().Count() == tokens.Length && tokens.Min() >= 0
                    ? tokens
                    : throw new InfluenceException(
                        $"The vocabulary is at least two different token ids, none below 0; found {tokens.Length} "
                            + $"({tokens.Distinct().Count()} different). Write new AttentionInfluence.KeyValueProbes(Enumerable.Range(0, "
                            + "size).Select(i => (long)i))."
                    );
        }

        /// <summary>The token ids that keys and values are drawn from.</summary>
        public IReadOnlyList<long> Vocabulary { get; }

        /// <summary>The number of sequences.</summary>
        /// <value>800.</value>
        /// <exception cref="InfluenceException">Less than 1.</exception>
        public int Count
        {
            get;
            init => field = AtLeast(1, value, nameof(Count));
        } = 800;

        /// <summary>Pairs in a sequence; more than <see cref="Shots"/>.</summary>
        /// <value>16.</value>
        /// <exception cref="InfluenceException">Less than 2.</exception>
        public int Pairs
        {
            get;
            init => field = AtLeast(2, value, nameof(Pairs));
        } = 16;

        /// <summary>Questions with their answers before the last one.</summary>
        /// <value>3.</value>
        /// <exception cref="InfluenceException">Negative.</exception>
        public int Shots
        {
            get;
            init => field = AtLeast(0, value, nameof(Shots));
        } = 3;

        /// <summary>Tokens of a key.</summary>
        /// <value>1.</value>
        /// <exception cref="InfluenceException">Less than 1.</exception>
        public int KeyLength
        {
            get;
            init => field = AtLeast(1, value, nameof(KeyLength));
        } = 1;

        /// <summary>Tokens of a value.</summary>
        /// <value>2.</value>
        /// <exception cref="InfluenceException">Less than 1.</exception>
        public int ValueLength
        {
            get;
            init => field = AtLeast(1, value, nameof(ValueLength));
        } = 2;

        /// <summary>Tokens before everything else.</summary>
        /// <value>None.</value>
        public IReadOnlyList<long> Opening { get; init; } = [];

        /// <summary>Tokens between a key and its value.</summary>
        /// <value>None.</value>
        public IReadOnlyList<long> Separator { get; init; } = [];

        /// <summary>Tokens after a value.</summary>
        /// <value>None.</value>
        public IReadOnlyList<long> Closing { get; init; } = [];

        /// <summary>Of every draw.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }

        /// <summary>Tokens of a sequence, the answer included.</summary>
        public int Length => Opening.Count + ((Pairs + Shots + 1) * PairLength) - Closing.Count;

        private int PairLength => KeyLength + Separator.Count + ValueLength + Closing.Count;

        /// <summary>The sequences.</summary>
        /// <returns><c>[Count, Length]</c>, int64, on the CPU; the caller's.</returns>
        /// <exception cref="InfluenceException">Settings that do not fit each other.</exception>
        public Tensor Tokens()
        {
            using var scope = NewDisposeScope();
            return Make(CPU).Tokens.MoveToOuterDisposeScope();
        }

        /// <summary>The sequences and where their answers come from, in the current scope.</summary>
        internal CopyProbes Make(Device device)
        {
            CheckSizes();
            var (tokens, sources) = (new long[Count * Length], new long[Count * ValueLength]);
            for (var n = 0; n < Count; n++)
            {
                Fill(
                    tokens.AsSpan(n * Length, Length),
                    sources.AsSpan(n * ValueLength, ValueLength),
                    new KeyedRandom(Seed, "key-value probes", n)
                );
            }

            return new CopyProbes(
                tensor(tokens, device: device).reshape(Count, Length),
                [.. Enumerable.Range(Length - ValueLength - 1, ValueLength).Select(p => (long)p)],
                tensor(sources, device: device).reshape(Count, ValueLength)
            );
        }

        private void Fill(Span<long> tokens, Span<long> sources, KeyedRandom random)
        {
            var words = Draw(random);
            var asked = random.Order(Pairs).AsSpan(0, Shots + 1).ToArray();
            var at = 0;
            Put(tokens, ref at, Opening);
            for (var pair = 0; pair < Pairs; pair++)
            {
                Pair(tokens, ref at, words[pair]);
            }

            foreach (var pair in asked)
            {
                Pair(tokens, ref at, words[pair], last: pair == asked[^1]);
            }

            var source = Opening.Count + (asked[^1] * PairLength) + KeyLength + Separator.Count;
            for (var i = 0; i < ValueLength; i++)
            {
                sources[i] = source + i;
            }
        }

        private void Pair(Span<long> tokens, ref int at, long[] word, bool last = false)
        {
            Put(tokens, ref at, word.AsSpan(0, KeyLength).ToArray());
            Put(tokens, ref at, Separator);
            Put(tokens, ref at, word.AsSpan(KeyLength).ToArray());
            if (!last)
            {
                Put(tokens, ref at, Closing);
            }
        }

        private static void Put(Span<long> tokens, ref int at, IReadOnlyList<long> what)
        {
            foreach (var token in what)
            {
                tokens[at++] = token;
            }
        }

        /// <summary>Each pair's key, then its value.</summary>
        private long[][] Draw(KeyedRandom random)
        {
            var each = KeyLength + ValueLength;
            if (Vocabulary.Count >= (long)Pairs * each)
            {
                return [.. random.Order(Vocabulary.Count).Take(Pairs * each).Select(i => Vocabulary[i]).Chunk(each)];
            }

            var (words, keys) = (new List<long[]>(), new HashSet<string>());
            while (words.Count < Pairs)
            {
                var word = Enumerable.Range(0, each).Select(_ => Vocabulary[random.Below(Vocabulary.Count)]).ToArray();
                if (keys.Add(string.Join(' ', word.Take(KeyLength))))
                {
                    words.Add(word);
                }
            }

            return [.. words];
        }

        private void CheckSizes()
        {
            var problems = new List<string>();
            if (Pairs <= Shots)
            {
                problems.Add($"Each question asks for a pair of its own: Pairs is more than Shots; found {Pairs} and {Shots}.");
            }

            // Beyond half of all keys, drawing until they differ takes long.
            if (Math.Pow(Vocabulary.Count, KeyLength) < 2.0 * Pairs && Vocabulary.Count < (long)Pairs * (KeyLength + ValueLength))
            {
                problems.Add(
                    $"{Vocabulary.Count} tokens make too few keys of {KeyLength} for {Pairs} pairs. Give a larger vocabulary, "
                        + "longer keys or fewer pairs."
                );
            }

            InfluenceException.ThrowIfAny(problems);
        }

        private static int AtLeast(int least, int value, string name) =>
            value >= least ? value : throw new InfluenceException($"{name} is at least {least}, not {value}.");
    }
}
