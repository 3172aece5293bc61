using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace SelectBestTenth;

/// <summary>
/// Invented clicks. Items have one of eight genres, and within it a popularity that falls as 1 / rank. A user likes two genres, one twice
/// as much as the other, stays with seven chances of ten in the genre of the last click, and clicks at random one time in five: on any
/// item.
/// An example is five clicks and the sixth, which is to be told; of some the sixth is a random one, so that nothing can be learned from it.
/// </summary>
internal sealed class Recommendations : IDisposable
{
    public const int Items = 400;
    public const int History = 5;
    private const int Genres = 8;
    private const int OfGenre = Items / Genres;
    private const double Stays = 0.7;
    private const double Chance = 0.2;

    private Recommendations(Tensor history, Tensor next, bool[] isChance) => (Seen, Next, IsChance) = (history, next, isChance);

    /// <summary>The clicks, <c>[N, 5]</c>.</summary>
    public Tensor Seen { get; }

    /// <summary>The sixth, <c>[N]</c>.</summary>
    public Tensor Next { get; }

    /// <summary>Whether the sixth was a click on any item.</summary>
    public IReadOnlyList<bool> IsChance { get; }

    public Examples Examples => Examples.FromTensors(("seen", Seen), ("next", Next)) with { BatchSize = 100 };

    /// <param name="users">An example of each.</param>
    /// <param name="seed">Of everything.</param>
    /// <param name="chance">Whether the sixth click may be a random one; not where models are judged.</param>
    public static Recommendations Draw(int users, int seed, bool chance = true)
    {
        var random = Randomness.For(seed, "clicks");
        var (seen, next, isChance) = (new long[users, History], new long[users], new bool[users]);
        for (var user = 0; user < users; user++)
        {
            var (first, second) = (random.Next(Genres), random.Next(Genres));
            var genre = first;
            for (var click = 0; click <= History; click++)
            {
                genre =
                    click > 0 && random.NextDouble() < Stays ? genre
                    : random.Next(3) < 2 ? first
                    : second;
                var any = random.NextDouble() < Chance && (chance || click < History);
                var item = any ? random.Next(Items) : (genre * OfGenre) + Popular(random);
                if (click < History)
                {
                    seen[user, click] = item;
                }
                else
                {
                    (next[user], isChance[user]) = (item, any);
                }
            }
        }

        return new Recommendations(tensor(seen), tensor(next), isChance);
    }

    public void Dispose()
    {
        Seen.Dispose();
        Next.Dispose();
    }

    /// <summary>A rank within a genre, with chances that fall as 1 / (rank + 1).</summary>
    private static int Popular(Random random)
    {
        var left = random.NextDouble() * Enumerable.Range(1, OfGenre).Sum(rank => 1.0 / rank);
        for (var rank = 0; rank < OfGenre - 1; rank++)
        {
            left -= 1.0 / (rank + 1);
            if (left < 0)
            {
                return rank;
            }
        }

        return OfGenre - 1;
    }
}
