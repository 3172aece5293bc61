using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>Numbers that are only ever added at the end, in pieces of one size: growing copies nothing and wastes at most one
/// piece.</summary>
internal sealed class Column<T>
    where T : unmanaged
{
    private const int PieceBits = 14;
    private const int PieceLength = 1 << PieceBits;
    private readonly List<T[]> _pieces = [];

    public long Count { get; private set; }

    public T this[long position] => _pieces[(int)(position >> PieceBits)][(int)(position & (PieceLength - 1))];

    public void Add(T value)
    {
        var place = (int)(Count & (PieceLength - 1));
        if (place == 0)
        {
            _pieces.Add(new T[PieceLength]);
        }

        _pieces[^1][place] = value;
        Count++;
    }

    /// <summary>All of it as a tensor <c>[Count]</c>.</summary>
    /// <param name="make">How an array becomes a tensor.</param>
    public Tensor ToTensor(Func<T[], Tensor> make) =>
        Count == 0
            ? make([]) // [0]
            : cat([.. _pieces.Select((piece, p) => make(piece[..(int)Math.Min(PieceLength, Count - ((long)p << PieceBits))]))]);

    /// <summary>Adds the first numbers of a tensor on the CPU.</summary>
    public void AddFrom(Tensor values, long count)
    {
        for (long start = 0; start < count; start += PieceLength)
        {
            using var scope = NewDisposeScope();
            foreach (var value in values.narrow(0, start, Math.Min(PieceLength, count - start)).data<T>().ToArray())
            {
                Add(value);
            }
        }
    }
}
