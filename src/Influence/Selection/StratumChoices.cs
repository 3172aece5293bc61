namespace Influence.Selection;

/// <summary>What the inner strategy chose in each group.</summary>
internal sealed class StratumChoices
{
    private readonly SelectionPool _pool;
    private readonly Strata _strata;
    private readonly SelectionStrategy _inner;
    private readonly bool _inTokens;
    private readonly SelectionStrategy.Run _run;
    private readonly long[] _quotas;
    private readonly SelectedExamples?[] _chosen;

    /// <summary>Nothing is chosen yet.</summary>
    public StratumChoices(SelectionPool pool, Strata strata, SelectionStrategy inner, bool inTokens, SelectionStrategy.Run run)
    {
        (_pool, _strata, _inner, _inTokens, _run) = (pool, strata, inner, inTokens, run);
        (_quotas, _chosen) = (strata.Quotas(), new SelectedExamples?[strata.All.Count]);
    }

    /// <summary>A group's quota as a budget; null where it has no room for any of the group's examples.</summary>
    public static SelectionBudget? Budget(SelectionPool pool, Stratum stratum, long quota, bool inTokens) =>
        quota < (inTokens ? stratum.Positions.Min(p => pool.Lengths![p]) : 1) ? null
        : inTokens ? SelectionBudget.Tokens(quota)
        : SelectionBudget.Count(quota);

    /// <summary>Each group with its quota.</summary>
    public void Fill()
    {
        for (var g = 0; g < _chosen.Length; g++)
        {
            _chosen[g] = Within(g, _quotas[g]);
            _run.Report(g + 1, _chosen.Length);
        }
    }

    /// <summary>
    /// Tokens that were too few for another example of their group go to others. A group that gets some is chosen from anew, not only
    /// from its rest: weights then count each candidate once.
    /// </summary>
    public void GiveOutWhatIsLeft()
    {
        var open = Enumerable
            .Range(0, _chosen.Length)
            .Where(g => _strata.All[g].Weight > 0 && !Stopped(g))
            .OrderByDescending(g => _quotas[g] - Taken(g))
            .ToList();
        var left = open.Sum(g => _quotas[g] - Taken(g));
        foreach (var g in open)
        {
            var taken = Taken(g);
            var quota = Math.Min(_strata.Cap(_strata.All[g]), taken + left);
            if (ShortestLeft(g) <= quota - taken && Within(g, quota) is { } again && Size(again) > taken)
            {
                left -= Size(again) - taken;
                _chosen[g] = again;
            }
        }

        if (open.Any(g => ShortestLeft(g) <= left && Taken(g) + ShortestLeft(g) > _strata.Cap(_strata.All[g])))
        {
            _run.Note($"{left:N0} tokens of the budget are left: the groups that have examples that short are at their MaximumShare.");
        }
    }

    /// <summary>What the inner strategy remarked, and where a quota was not filled.</summary>
    public void AddNotes()
    {
        var (wanted, unit) = (_strata.Wanted(), _inTokens ? "tokens" : "examples");
        for (var g = 0; g < _chosen.Length; g++)
        {
            var stratum = _strata.All[g];
            foreach (var note in _chosen[g]?.Notes ?? [])
            {
                _run.Note($"In the group \"{stratum.Name}\": {note}");
            }

            if (wanted[g] > stratum.Size)
            {
                _run.Note(
                    $"The group \"{stratum.Name}\" has {stratum.Size:N0} of the {wanted[g]:N0} {unit} of its quota; the others "
                        + "share the rest."
                );
            }

            if (Stopped(g))
            {
                _run.Note($"In the group \"{stratum.Name}\" {_inner.Name} stopped at {Taken(g):N0} of {_quotas[g]:N0} {unit}.");
            }
        }
    }

    /// <summary>The groups' picks, so that every first part has nearly the groups' shares.</summary>
    public IEnumerable<(int Position, double Utility, double Weight)> Merged() =>
        _chosen
            .OfType<SelectedExamples>()
            .SelectMany(chosen =>
                chosen.Ids.Select(
                    (id, i) => (Place: (i + 0.5) / chosen.Count, Pick: (_pool.PositionOf(id), chosen.Utilities[i], chosen.Weights[i]))
                )
            )
            .OrderBy(pair => pair.Place)
            .Select(pair => pair.Pick);

    private SelectedExamples? Within(int g, long quota)
    {
        if (Budget(_pool, _strata.All[g], quota, _inTokens) is not { } budget)
        {
            return null;
        }

        using var part = _pool.At(_strata.All[g].Positions);
        try
        {
            return _inner.Select(part, budget, null, _run.CancellationToken);
        }
        catch (InfluenceException exception)
        {
            throw new InfluenceException($"In the group \"{_strata.All[g].Name}\": {exception.Message}", exception)
            {
                ExampleIds = exception.ExampleIds,
            };
        }
    }

    private long Taken(int g) => _chosen[g] is { } chosen ? Size(chosen) : 0;

    /// <summary>In examples or tokens, as the budget is.</summary>
    private long Size(SelectedExamples chosen) => _inTokens ? chosen.Ids.Sum(id => _pool.Lengths![_pool.PositionOf(id)]) : chosen.Count;

    /// <summary>Whether the inner strategy left room for another example.</summary>
    private bool Stopped(int g) => Taken(g) < _quotas[g] && ShortestLeft(g) <= _quotas[g] - Taken(g);

    /// <summary>The size of the smallest candidate that was not chosen; where all were, larger than any budget.</summary>
    private long ShortestLeft(int g)
    {
        var chosen = _chosen[g]?.Ids.Select(_pool.PositionOf).ToHashSet() ?? [];
        var rest = _strata.All[g].Positions.Where(p => !chosen.Contains(p));
        return _inTokens ? rest.Select(p => _pool.Lengths![p]).DefaultIfEmpty(long.MaxValue).Min()
            : rest.Any() ? 1
            : long.MaxValue;
    }
}
