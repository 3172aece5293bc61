namespace Influence.Selection;

/// <summary>What a strategy has picked so far, and what still fits the budget.</summary>
public sealed class Picks
{
    private readonly IReadOnlyList<long> _ids;
    private readonly IReadOnlyList<long>? _lengths;
    private readonly bool[] _picked;
    private readonly int[]? _byLength;
    private readonly List<int> _positions = [];
    private readonly List<double> _utilities = [];
    private readonly List<double> _weights = [];
    private readonly int _examples;
    private long _tokensLeft;
    private int _shortest;

    internal Picks(SelectionPool pool, SelectionBudget budget)
    {
        _ids = pool.Ids;
        _picked = new bool[pool.Count];
        _examples = budget.Examples(pool) ?? pool.Count;
        if (budget.TokenCount is { } tokens)
        {
            (_lengths, _tokensLeft) = (pool.Lengths!, tokens);
            _byLength = [.. Enumerable.Range(0, pool.Count).OrderBy(i => pool.Lengths![i])];
        }
    }

    /// <summary>Positions in the order in which they were picked.</summary>
    public IReadOnlyList<int> Positions => _positions;

    /// <summary>How many were picked.</summary>
    public int Count => _positions.Count;

    /// <summary>How many examples can still be picked: exact where examples are counted, at most that many where tokens are.</summary>
    public int Room
    {
        get
        {
            if (_byLength is null)
            {
                return _examples - Count;
            }

            var (room, left) = (0, _tokensLeft);
            for (var i = _shortest; i < _byLength.Length && left > 0; i++)
            {
                if (!_picked[_byLength[i]] && _lengths![_byLength[i]] <= left)
                {
                    left -= _lengths[_byLength[i]];
                    room++;
                }
            }

            return room;
        }
    }

    /// <summary>Whether nothing more can be picked.</summary>
    public bool Full
    {
        get
        {
            if (_byLength is null)
            {
                return Count >= _examples;
            }

            while (_shortest < _byLength.Length && _picked[_byLength[_shortest]])
            {
                _shortest++;
            }

            return _shortest == _byLength.Length || _lengths![_byLength[_shortest]] > _tokensLeft;
        }
    }

    /// <summary>What is left of a budget in tokens; null where examples are counted.</summary>
    public long? TokensLeft => _lengths is null ? null : _tokensLeft;

    /// <summary>What is left of the budget, in examples or in tokens.</summary>
    internal long Left => _lengths is null ? _examples - Count : _tokensLeft;

    internal IReadOnlyList<double> Utilities => _utilities;

    internal IReadOnlyList<double> Weights => _weights;

    /// <summary>Whether a candidate was picked.</summary>
    /// <param name="position">Its position.</param>
    public bool Contains(int position) => _picked[position];

    /// <summary>Whether a candidate can be picked: it was not yet, and the budget has room for it.</summary>
    /// <param name="position">Its position.</param>
    public bool Fits(int position) => !_picked[position] && (_lengths is null ? Count < _examples : _lengths[position] <= _tokensLeft);

    /// <summary>What a candidate takes of the budget: 1, or its length.</summary>
    internal long Size(int position) => _lengths?[position] ?? 1;

    /// <summary>Picks a candidate.</summary>
    /// <param name="position">Its position.</param>
    /// <param name="utility">What it was worth to the strategy at that moment; may be infinite.</param>
    /// <param name="weight">How much it counts in training; 1 unless the strategy weighs.</param>
    /// <exception cref="InvalidOperationException">It does not fit; ask <see cref="Fits"/> first.</exception>
    /// <exception cref="InfluenceException">The utility is NaN.</exception>
    public void Add(int position, double utility, double weight = 1)
    {
        if (!Fits(position))
        {
            throw new InvalidOperationException($"Position {position} was picked before, or does not fit the budget.");
        }

        if (double.IsNaN(utility))
        {
            throw new InfluenceException(
                $"A pick's utility is a number; found NaN for example {_ids[position]}. Scores or features so large or so small that "
                    + "their squares leave the range of their dtype can do that: divide them by their largest magnitude."
            )
            {
                ExampleIds = [_ids[position]],
            };
        }

        _picked[position] = true;
        _tokensLeft -= _lengths?[position] ?? 0;
        _positions.Add(position);
        _utilities.Add(utility);
        _weights.Add(weight);
    }

    /// <summary>Picks candidates in a given order until the budget is used up; what does not fit is passed over.</summary>
    /// <param name="positions">The order, best first.</param>
    /// <param name="utilities">What each candidate is worth, by position.</param>
    /// <exception cref="InfluenceException">The utility of a pick is NaN.</exception>
    public void AddInOrder(IEnumerable<int> positions, IReadOnlyList<double> utilities)
    {
        ArgumentNullException.ThrowIfNull(positions);
        ArgumentNullException.ThrowIfNull(utilities);
        foreach (var position in positions)
        {
            if (Full)
            {
                return;
            }

            if (Fits(position))
            {
                Add(position, utilities[position]);
            }
        }
    }

    /// <summary>Sets the weights once all are picked, in the order of <see cref="Positions"/>.</summary>
    /// <param name="weights">One for each pick, finite and not negative.</param>
    /// <exception cref="ArgumentException">Another number of weights, or other values.</exception>
    public void Weigh(IReadOnlyList<double> weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        if (weights.Count != Count)
        {
            throw new ArgumentException($"{Count} were picked; found {weights.Count} weights.", nameof(weights));
        }

        if (weights.Any(weight => !double.IsFinite(weight) || weight < 0))
        {
            throw new ArgumentException("Weights are finite and not negative.", nameof(weights));
        }

        _weights.Clear();
        _weights.AddRange(weights);
    }
}
