namespace Influence.Distributed;

/// <summary>Training examples cut into units that follow each other: which they are does not depend on who does them.</summary>
internal sealed class WorkUnits
{
    private const int Parts = 64;
    private readonly Examples _train;

    public WorkUnits(Examples train, Work work)
    {
        var batch = Math.Min(train.BatchSize, train.Count);
        var share = (train.Count + Parts - 1) / Parts;
        (_train, Size) = (
            train,
            Math.Min(train.Count, work.ExamplesPerUnit ?? (int)Math.Min(int.MaxValue, (long)((share + batch - 1) / batch) * batch))
        );
    }

    /// <summary>Examples of a unit; the last may have fewer.</summary>
    public int Size { get; }

    public int Count => (int)(((long)_train.Count + Size - 1) / Size);

    public int First(int unit) => unit * Size;

    public int CountOf(int unit) => Math.Min(Size, _train.Count - First(unit));

    public Examples Of(int unit) => _train.Range(First(unit), CountOf(unit));
}
