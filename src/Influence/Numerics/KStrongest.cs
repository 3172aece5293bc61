namespace Influence.Numerics;

/// <summary>The k highest numbers of those that were offered, in whatever order, the highest first; ties go to the lowest
/// position.</summary>
/// <param name="k">How many.</param>
internal sealed class KStrongest(int k)
{
    private readonly List<(double Score, int Position)> _kept = new(Math.Min(k, 1 << 16) + 1);

    /// <summary>What is kept.</summary>
    public IReadOnlyList<(double Score, int Position)> Kept => _kept;

    /// <summary>Whether k are kept.</summary>
    public bool IsFull => _kept.Count == k;

    /// <summary>The lowest that is kept where k are; else minus infinity.</summary>
    public double Least => IsFull ? _kept[^1].Score : double.NegativeInfinity;

    /// <summary>Keeps a number where it is among the k highest.</summary>
    public void Offer(double score, int position)
    {
        if (IsFull && !IsBefore(score, position, _kept[^1]))
        {
            return;
        }

        var (low, high) = (0, _kept.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = IsBefore(score, position, _kept[middle]) ? (low, middle) : (middle + 1, high);
        }

        _kept.Insert(low, (score, position));
        if (_kept.Count > k)
        {
            _kept.RemoveAt(k);
        }
    }

    private static bool IsBefore(double score, int position, (double Score, int Position) other) =>
        score > other.Score || (score == other.Score && position < other.Position);
}
