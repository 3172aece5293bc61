namespace Influence.Selection;

/// <summary>
/// The candidates in the order of one target's scores, highest first and ties to the lowest position, made in parts: a part
/// holds a few of the best, and the next is only looked for once it is used up. So V targets never need V sorted copies of
/// N positions.
/// </summary>
/// <param name="read">Gives the scores by position, for each part anew.</param>
/// <param name="picks">What is picked already takes no room in a part.</param>
/// <param name="size">Candidates in the first part; each later one has twice as many.</param>
internal sealed class BestFirst(Func<double[]> read, Picks picks, int size)
{
    private readonly List<(double Score, int Position)> _part = [];
    private int _size = Math.Max(size, 1);
    private int _next;
    private (double Score, int Position) _last = (double.PositiveInfinity, -1);
    private bool _exhausted;

    /// <summary>The best candidate that still fits the budget; null when none is left. What does not fit now never will, and is passed for
    /// good.</summary>
    public (double Score, int Position)? Current
    {
        get
        {
            while (true)
            {
                for (; _next < _part.Count; _next++)
                {
                    if (picks.Fits(_part[_next].Position))
                    {
                        return _part[_next];
                    }
                }

                if (_exhausted)
                {
                    return null;
                }

                ReadPart();
            }
        }
    }

    /// <summary>Positive where a comes first.</summary>
    private static int Better((double Score, int Position) a, (double Score, int Position) b) =>
        a.Score != b.Score ? a.Score.CompareTo(b.Score) : b.Position.CompareTo(a.Position);

    /// <summary>Finds the best that come after all that were in earlier parts, with a heap whose root is the worst of them.</summary>
    private void ReadPart()
    {
        var scores = read();
        var heap = new PriorityQueue<(double Score, int Position), (double Score, int Position)>(
            Math.Min(_size, scores.Length),
            Comparer<(double, int)>.Create(Better)
        );
        for (var i = 0; i < scores.Length; i++)
        {
            var candidate = (scores[i], i);
            if ((heap.Count == _size && Better(candidate, heap.Peek()) < 0) || Better(candidate, _last) >= 0 || !picks.Fits(i))
            {
                continue;
            }

            if (heap.Count == _size)
            {
                heap.DequeueEnqueue(candidate, candidate);
            }
            else
            {
                heap.Enqueue(candidate, candidate);
            }
        }

        _exhausted = heap.Count < _size;
        _part.Clear();
        while (heap.TryDequeue(out var candidate, out _))
        {
            _part.Add(candidate);
        }

        _part.Reverse();
        _next = 0;
        if (_part.Count > 0)
        {
            _last = _part[^1];
        }

        _size = (int)Math.Min(2L * _size, Array.MaxLength);
    }
}
