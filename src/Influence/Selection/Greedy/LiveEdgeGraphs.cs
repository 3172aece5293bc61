using System.Numerics;

namespace Influence.Selection;

/// <summary>
/// The independent cascade on graphs whose live edges were drawn beforehand: what a set reaches in every one of up to 64
/// draws. With the draws fixed, the reach is exactly monotone and submodular in the set, so that greedy may be lazy.
/// </summary>
/// <remarks>All draws are walked at once: bit r of a node's word says that it is active in draw r.</remarks>
internal sealed class LiveEdgeGraphs
{
    private readonly int[] _first;
    private readonly int[] _to;
    private readonly ulong[] _live;
    private readonly ulong[] _active;
    private readonly ulong[] _reached;
    private readonly List<int> _touched = [];
    private readonly Queue<int> _waiting = [];
    private readonly ulong _all;

    /// <summary>Draws the live edges.</summary>
    /// <param name="edges">The edges out of each node, with the probability that an active node activates the other.</param>
    /// <param name="draws">How many graphs, 1 to 64.</param>
    /// <param name="uniform">A number in (0, 1) for a draw, an edge's rank among its node's edges, and that node.</param>
    public LiveEdgeGraphs(IReadOnlyList<IReadOnlyList<(int To, double Probability)>> edges, int draws, Func<int, int, int, double> uniform)
    {
        Draws = draws;
        _all = draws == 64 ? ulong.MaxValue : (1UL << draws) - 1;
        (_active, _reached) = (new ulong[edges.Count], new ulong[edges.Count]);
        _first = new int[edges.Count + 1];
        for (var from = 0; from < edges.Count; from++)
        {
            _first[from + 1] = _first[from] + edges[from].Count;
        }

        (_to, _live) = (new int[_first[^1]], new ulong[_first[^1]]);
        for (var from = 0; from < edges.Count; from++)
        {
            for (var rank = 0; rank < edges[from].Count; rank++)
            {
                var edge = _first[from] + rank;
                _to[edge] = edges[from][rank].To;
                for (var draw = 0; draw < draws; draw++)
                {
                    _live[edge] |= uniform(draw, rank, from) < edges[from][rank].Probability ? 1UL << draw : 0;
                }
            }
        }
    }

    /// <summary>How many graphs were drawn.</summary>
    public int Draws { get; }

    /// <summary>How many nodes, on average over the draws, a node would activate that no node before it did.</summary>
    public double Gain(int node)
    {
        var gain = Spread(node);
        foreach (var reached in _touched)
        {
            _reached[reached] = 0;
        }

        return gain;
    }

    /// <summary>Adds a node to the set.</summary>
    /// <returns>Its gain.</returns>
    public double Add(int node)
    {
        var gain = Spread(node);
        foreach (var reached in _touched)
        {
            _active[reached] |= _reached[reached];
            _reached[reached] = 0;
        }

        return gain;
    }

    /// <summary>Leaves in <see cref="_reached"/> what the node newly activates, and in <see cref="_touched"/> where.</summary>
    private double Spread(int node)
    {
        _touched.Clear();
        var activations = 0L;
        Reach(node, _all);
        while (_waiting.TryDequeue(out var from))
        {
            for (var edge = _first[from]; edge < _first[from + 1]; edge++)
            {
                Reach(_to[edge], _reached[from] & _live[edge]);
            }
        }

        foreach (var touched in _touched)
        {
            activations += BitOperations.PopCount(_reached[touched]);
        }

        return (double)activations / Draws;
    }

    private void Reach(int node, ulong draws)
    {
        var reached = draws & ~_active[node] & ~_reached[node];
        if (reached == 0)
        {
            return;
        }

        if (_reached[node] == 0)
        {
            _touched.Add(node);
        }

        _reached[node] |= reached;
        _waiting.Enqueue(node);
    }
}
