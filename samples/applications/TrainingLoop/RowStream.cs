namespace TrainingLoop;

/// <summary>Rows without end: all of them in a random order, then all of them in another.</summary>
internal sealed class RowStream(int count, Random random)
{
    private readonly long[] _order = [.. Enumerable.Range(0, count).Select(row => (long)row)];
    private int _next = count;

    /// <summary>The next rows, none twice: what is left of a pass and does not fill them is left out.</summary>
    public long[] Next(int wanted)
    {
        if (_next + wanted > _order.Length)
        {
            random.Shuffle(_order);
            _next = 0;
        }

        _next += wanted;
        return _order[(_next - wanted).._next];
    }
}
