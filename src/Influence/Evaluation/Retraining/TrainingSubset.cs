namespace Influence.Evaluation;

/// <summary>A part of the training examples to train on: one bit an example.</summary>
public sealed class TrainingSubset
{
    private readonly IReadOnlyList<long> _trainIds;

    internal TrainingSubset(string name, IReadOnlyList<long> trainIds, byte[] bits)
    {
        (Name, _trainIds, Bits) = (name, trainIds, bits);
        Count = bits.Sum(b => byte.PopCount(b));
    }

    /// <summary>What it is, for example <c>half 3</c> or <c>without 17</c>.</summary>
    public string Name { get; }

    /// <summary>The number of examples in it.</summary>
    public int Count { get; }

    /// <summary>The ids in it, in the order of <see cref="Subsets.TrainIds"/>; listed anew at each read.</summary>
    public IReadOnlyList<long> Ids => Listed(inside: true);

    /// <summary>The ids left out, in the order of <see cref="Subsets.TrainIds"/>; listed anew at each read.</summary>
    public IReadOnlyList<long> RemovedIds => Listed(inside: false);

    internal byte[] Bits { get; }

    /// <summary>Whether the example at a position of <see cref="Subsets.TrainIds"/> is in it.</summary>
    /// <param name="position">The position (not id).</param>
    public bool Contains(int position) => (Bits[position >> 3] & (1 << (position & 7))) != 0;

    /// <summary>Name and size.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => $"{Name} ({Count:N0} of {_trainIds.Count:N0})";

    internal static byte[] BitsOf(int count, Func<int, bool> contains)
    {
        var bits = new byte[(count + 7) / 8];
        for (var i = 0; i < count; i++)
        {
            if (contains(i))
            {
                bits[i >> 3] |= (byte)(1 << (i & 7));
            }
        }

        return bits;
    }

    private long[] Listed(bool inside)
    {
        var ids = new long[inside ? Count : _trainIds.Count - Count];
        for (var (i, k) = (0, 0); i < _trainIds.Count; i++)
        {
            if (Contains(i) == inside)
            {
                ids[k++] = _trainIds[i];
            }
        }

        return ids;
    }
}
