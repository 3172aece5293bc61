namespace Influence.Selection;

/// <summary>
/// Greedy maximisation with lazy evaluation: a gain that was true earlier bounds the gain of today, since gains only fall
/// (submodularity); so only those candidates are looked at again whose old gain is on top. The answer is that of plain greedy.
/// </summary>
/// <remarks>Minoux, <i>Accelerated greedy algorithms for maximizing submodular set functions</i>, 1978.</remarks>
internal sealed class LazyGreedy
{
    private readonly Coverage _coverage;
    private readonly double _scale;
    private readonly double[]? _relevance;
    private readonly PriorityQueue<int, (double Negative, int Candidate)> _queue;
    private readonly int[] _evaluatedAt;
    private int _picked;

    /// <summary>The gain of a candidate is its relevance, if any, plus scale times the gain in coverage.</summary>
    public LazyGreedy(Coverage coverage, double scale, double[]? relevance, CancellationToken cancellationToken)
    {
        (_coverage, _scale, _relevance) = (coverage, scale, relevance);
        _evaluatedAt = new int[coverage.Count];
        var entries = new List<(int, (double, int))>(coverage.Count);
        foreach (var batch in Enumerable.Range(0, coverage.Count).Chunk(1024))
        {
            cancellationToken.ThrowIfCancellationRequested();
            entries.AddRange(batch.Zip(Gains(batch), (candidate, gain) => (candidate, (-gain, candidate))));
        }

        _queue = new(entries);
    }

    /// <summary>The candidate with the highest gain, ties to the lowest; false once none is left. One that does not fit is dropped for
    /// good.</summary>
    public bool TryNext(Func<int, bool> fits, out int candidate, out double gain)
    {
        var stale = new List<int>(_coverage.Batch);
        while (_queue.TryDequeue(out candidate, out var priority))
        {
            if (!fits(candidate))
            {
                continue;
            }

            if (_evaluatedAt[candidate] == _picked)
            {
                gain = -priority.Negative;
                _coverage.Add(candidate);
                _picked++;
                return true;
            }

            stale.Clear();
            stale.Add(candidate);
            while (stale.Count < _coverage.Batch && _queue.TryPeek(out var next, out _) && _evaluatedAt[next] != _picked)
            {
                stale.Add(_queue.Dequeue());
            }

            var gains = Gains([.. stale]);
            for (var i = 0; i < stale.Count; i++)
            {
                _evaluatedAt[stale[i]] = _picked;
                _queue.Enqueue(stale[i], (-gains[i], stale[i]));
            }
        }

        (candidate, gain) = (-1, 0);
        return false;
    }

    private double[] Gains(int[] candidates)
    {
        var gains = _coverage.Gains(candidates);
        for (var i = 0; i < gains.Length; i++)
        {
            gains[i] = (_relevance?[candidates[i]] ?? 0) + (_scale * gains[i]);
        }

        return gains;
    }
}
