using System.Globalization;

namespace Influence.Selection;

/// <summary>What becomes of a quota that a group is too small to fill.</summary>
public enum QuotaShortfall
{
    /// <summary>The other groups share it, in proportion to their quotas; a note names the group.</summary>
    Redistribute,

    /// <summary>It is an error that names the group, before anything is picked.</summary>
    Refuse,
}

/// <summary>
/// Any other strategy, within each group by itself: every group gets a quota of the budget. With weights v_g and sizes M_g, of
/// a budget B group g gets
/// <code>B_g = min(M_g, c v_g),   with c such that the B_g sum to B</code>
/// (and at most <see cref="MaximumShare"/> of B),
/// rounded to whole numbers by largest remainder (ties to the group of the lowest id).
/// </summary>
/// <remarks>
/// <para>
/// Groups are <see cref="SelectionPool.Groups"/>, each candidate in exactly one. The picks of the groups are merged so that
/// every first part of the answer has nearly the groups' shares. Utilities and weights are the inner strategy's, so utilities
/// of unlike groups need not compare, and weights sum group by group as the inner strategy says. The seed is added to the
/// inner strategy's.
/// </para>
/// <para>
/// Under a budget in tokens quotas are in tokens. What a group's quota leaves, being shorter than its next example, is pooled,
/// and the inner strategy spends it on all groups of weight above zero together. An inner strategy that stops early, such as a
/// threshold, leaves its group's quota unused; a note says so. Cost: the inner strategy's for each group.
/// </para>
/// </remarks>
public sealed record Stratified : SelectionStrategy
{
    /// <summary>Wraps a strategy.</summary>
    /// <param name="inner">Chooses within each group.</param>
    public Stratified(SelectionStrategy inner)
    {
        ArgumentNullException.ThrowIfNull(inner);
        Inner = inner;
    }

    /// <summary>Chooses within each group.</summary>
    public SelectionStrategy Inner { get; }

    /// <inheritdoc/>
    public override string Name => $"stratified {Inner.Name}";

    /// <summary>The groups' shares of the budget.</summary>
    /// <value><see cref="GroupQuotas.Proportional"/>.</value>
    public GroupQuotas Quotas { get; init; } = GroupQuotas.Proportional;

    /// <summary>The largest share of the budget that any group may get, rounded down to whole examples or tokens; the others share the rest.</summary>
    /// <value>1: no limit.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double MaximumShare
    {
        get;
        init => field = value is > 0 and <= 1
            ? value
            : throw new InfluenceException($"MaximumShare is above 0 and at most 1, not {value.ToString(CultureInfo.InvariantCulture)}.");
    } = 1;

    /// <summary>What becomes of a quota that a group is too small to fill.</summary>
    /// <value><see cref="QuotaShortfall.Redistribute"/>.</value>
    public QuotaShortfall WhenShort { get; init; }

    /// <inheritdoc/>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(budget);
        var problems = Inner.AllProblems(pool, budget).Except(budget.Problems(pool)).Concat(NeedsGroups(pool)).Distinct().ToList();
        if (pool.Groups is not { } groups || pool.Ids.Any(id => !groups.GroupsOf.ContainsKey(id)))
        {
            return problems;
        }

        var several = pool.Ids.Where(id => groups.GroupsOf[id].Count > 1).ToList();
        if (several.Count > 0)
        {
            problems.Add($"Quotas need each candidate in one group; these are in several: {InfluenceException.List(several)}.");
            return problems;
        }

        var strata = Strata(pool, budget.TokenCount is not null);
        problems.AddRange(Quotas.Problems([.. strata.Select(stratum => stratum.Name)]));
        if (problems.Count == 0 && !budget.Problems(pool).Any())
        {
            problems.AddRange(Shortfalls(strata, budget.TokenCount ?? budget.Examples(pool)!.Value));
        }

        return problems;
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, SelectionRun run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var strata = Strata(pool, picks.TokensLeft is not null);
        var total = picks.TokensLeft ?? picks.Room;
        var quotas = Shared(strata, total);
        var merged = new List<(double Place, int Position, double Utility, double Weight)>();
        for (var g = 0; g < strata.Count; g++)
        {
            var chosen = Within(pool, strata[g].Positions, quotas[g], picks, run, $"the group \"{strata[g].Name}\"");
            merged.AddRange(chosen.Select((pick, i) => ((i + 0.5) / chosen.Count, pick.Position, pick.Utility, pick.Weight)));
            Remark(run, strata, g, quotas[g], total, chosen.Count, picks.TokensLeft is not null);
            run.Report(g + 1, strata.Count);
        }

        foreach (var pick in merged.OrderBy(pick => pick.Place))
        {
            picks.Add(pick.Position, pick.Utility, pick.Weight);
        }

        Spend(pool, strata, picks, run);
    }

    /// <summary>What the quotas left of a budget in tokens.</summary>
    private void Spend(SelectionPool pool, List<Stratum> strata, Picks picks, SelectionRun run)
    {
        if (picks.TokensLeft is not { } left)
        {
            return;
        }

        int[] rest = [.. strata.Where(stratum => stratum.Weight > 0).SelectMany(stratum => stratum.Positions).Where(picks.Fits)];
        foreach (var (position, utility, weight) in Within(pool, rest, Math.Min(left, rest.Sum(p => pool.Lengths![p])), picks, run, "what the quotas left"))
        {
            picks.Add(position, utility, weight);
        }
    }

    private List<(int Position, double Utility, double Weight)> Within(
        SelectionPool pool, int[] positions, long quota, Picks picks, SelectionRun run, string where)
    {
        var inTokens = picks.TokensLeft is not null;
        if (positions.Length == 0 || quota < (inTokens ? positions.Min(p => pool.Lengths![p]) : 1))
        {
            return [];
        }

        using var part = pool.At(positions);
        var seeded = Inner with { Seed = unchecked(Inner.Seed + Seed) };
        SelectedExamples chosen;
        try
        {
            chosen = seeded.Select(part, inTokens ? SelectionBudget.Tokens(quota) : SelectionBudget.Count(quota), null, run.CancellationToken);
        }
        catch (InfluenceException exception)
        {
            throw new InfluenceException($"In {where}: {exception.Message}", exception) { ExampleIds = exception.ExampleIds };
        }

        foreach (var note in chosen.Notes)
        {
            run.Note($"In {where}: {note}");
        }

        return [.. chosen.Ids.Select((id, i) => (pool.PositionOf(id), chosen.Utilities[i], chosen.Weights[i]))];
    }

    private void Remark(SelectionRun run, List<Stratum> strata, int g, long quota, long total, int chosen, bool inTokens)
    {
        var wanted = Wanted(strata, total)[g];
        if (wanted > strata[g].Size)
        {
            run.Note($"The group \"{strata[g].Name}\" has {strata[g].Size:N0} of the {wanted:N0} {(inTokens ? "tokens" : "examples")} of its quota; the others share the rest.");
        }

        if (!inTokens && chosen < quota)
        {
            run.Note($"In the group \"{strata[g].Name}\" {Inner.Name} stopped at {chosen:N0} of {quota:N0} examples.");
        }
    }

    private List<string> Shortfalls(List<Stratum> strata, long total)
    {
        var problems = new List<string>();
        var available = strata.Where(stratum => stratum.Weight > 0).Sum(stratum => stratum.Size);
        var allowed = strata.Where(stratum => stratum.Weight > 0).Sum(stratum => Cap(stratum, total));
        if (available < total)
        {
            problems.Add($"The budget is {total:N0}, but the groups with a weight above 0 have {available:N0} together.");
        }
        else if (allowed < total)
        {
            problems.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"The budget is {total:N0}, but with a MaximumShare of {MaximumShare:0.####} the groups may give {allowed:N0} together. Allow a larger share."));
        }

        if (WhenShort == QuotaShortfall.Refuse)
        {
            var wanted = Wanted(strata, total);
            problems.AddRange(strata.Where((stratum, g) => wanted[g] > stratum.Size).Select(stratum =>
                $"The quota of the group \"{stratum.Name}\" is {wanted[strata.IndexOf(stratum)]:N0}, but it has {stratum.Size:N0}. Give it less weight, or write WhenShort = QuotaShortfall.Redistribute."));
        }

        return problems;
    }

    private long[] Shared(List<Stratum> strata, long total) => CappedShares.LargestRemainder(
        CappedShares.Of([.. strata.Select(s => s.Weight)], [.. strata.Select(s => (double)Cap(s, total))], total), [.. strata.Select(s => Cap(s, total))]);

    private long Cap(Stratum stratum, long total) => MaximumShare == 1 ? stratum.Size : Math.Min(stratum.Size, (long)Math.Floor((MaximumShare * total) + 1e-9));

    /// <summary>The quotas as they would be if no group were too small.</summary>
    private static long[] Wanted(List<Stratum> strata, long total) => CappedShares.LargestRemainder(
        CappedShares.Of([.. strata.Select(s => s.Weight)], [.. strata.Select(_ => double.PositiveInfinity)], total), [.. strata.Select(_ => long.MaxValue)]);

    /// <summary>The groups that have candidates, by their lowest id: the order in which groups were named may follow the order of the candidates.</summary>
    private List<Stratum> Strata(SelectionPool pool, bool inTokens)
    {
        var members = Enumerable.Range(0, pool.Count).ToLookup(i => pool.Groups!.GroupsOf[pool.Ids[i]][0]);
        return [.. members.Select(group =>
        {
            int[] positions = [.. group];
            var size = inTokens ? positions.Sum(p => pool.Lengths![p]) : positions.Length;
            return new Stratum(group.Key, positions, size, Quotas.Weight(group.Key, size));
        })];
    }

    private sealed record Stratum(string Name, int[] Positions, long Size, double Weight);
}
