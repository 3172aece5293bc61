namespace Influence.Selection;

/// <summary>A cluster as an arm: members in an order drawn by the seed, some of which were measured.</summary>
internal sealed class QuadArm(IReadOnlyList<int> members)
{
    private readonly PriorityQueue<int, (double, int)> _good = new();
    private readonly List<(int Position, double Score)> _poor = [];
    private int _next;

    /// <summary>Whether no member is left that could be probed or taken.</summary>
    public bool Exhausted => _next == members.Count && _good.Count == 0;

    /// <summary>What was not taken, with its worth: its score where it was measured.</summary>
    /// <param name="mean">What an unmeasured one is worth.</param>
    public IEnumerable<(int Position, double Worth)> Rest(double mean) =>
        [
            .. _good.UnorderedItems.OrderBy(item => item.Priority).Select(item => (item.Element, -item.Priority.Item1)),
            .. members.Skip(_next).Select(position => (position, mean)),
            .. _poor,
        ];

    /// <summary>Up to so many members that were neither measured nor taken.</summary>
    public IReadOnlyList<int> Probe(int count)
    {
        var probes = members.Skip(_next).Take(count).ToList();
        _next += probes.Count;
        return probes;
    }

    /// <summary>Keeps a measured member: to be taken first, or last.</summary>
    public void Measured(int position, double score, double threshold)
    {
        if (score > threshold)
        {
            _good.Enqueue(position, (-score, position));
        }
        else
        {
            _poor.Add((position, score));
        }
    }

    /// <summary>Takes members: measured ones above the threshold, best first, then unmeasured ones.</summary>
    /// <param name="picks">To add to.</param>
    /// <param name="count">At most so many.</param>
    /// <param name="mean">What an unmeasured one is worth.</param>
    public void Take(Picks picks, int count, double mean)
    {
        for (var taken = 0; taken < count && !picks.Full && !Exhausted; )
        {
            var worth = mean;
            if (_good.TryDequeue(out var position, out var priority))
            {
                worth = -priority.Item1;
            }
            else
            {
                position = members[_next++];
            }

            if (picks.Fits(position))
            {
                picks.Add(position, worth);
                taken++;
            }
        }
    }
}
