namespace Influence.Selection;

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
/// Under a budget in tokens quotas are in tokens. What a group's quota leaves, being shorter than its next example, is offered
/// to the groups of weight above zero, first to the one that misses most of its quota: where it lets a group take more, the inner
/// strategy chooses anew from that whole group with a larger quota, at most <see cref="MaximumShare"/> of B. An inner strategy
/// that stops early, such as a threshold, leaves its group's quota unused; a note says so. Cost: the inner strategy's for each
/// group, twice at most.
/// </para>
/// </remarks>
public sealed partial record Stratified : SelectionStrategy
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

    /// <summary>The largest share of the budget that any group may get, rounded down to whole examples or tokens; the others share the
    /// rest.</summary>
    /// <value>1: no limit.</value>
    /// <exception cref="InfluenceException">Not above 0, or above 1.</exception>
    public double MaximumShare
    {
        get;
        init => field = Check.PositiveShare(value);
    } = 1;

    /// <summary>What becomes of a quota that a group is too small to fill.</summary>
    /// <value><see cref="Stratified.Shortfall.Redistribute"/>.</value>
    public Shortfall WhenShort { get; init; }

    /// <inheritdoc/>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(budget);
        var unfit = budget.Problems(pool).Any();
        List<string> problems = [.. NeedsGroups(pool)];
        if (problems.Count == 0)
        {
            var several = pool.Ids.Where(id => pool.Groups!.GroupsOf[id].Count > 1).ToList();
            if (several.Count > 0)
            {
                problems.Add($"Quotas need each candidate in one group; these are in several: {InfluenceException.List(several)}.");
            }
            else
            {
                problems.AddRange(Quotas.Problems([.. pool.Ids.Select(id => pool.Groups!.GroupsOf[id][0]).Distinct()]));
            }
        }

        if (problems.Count > 0 || unfit)
        {
            return [.. InnerProblemsAnywhere(pool, budget), .. problems];
        }

        var strata = Shares(pool, budget.TokenCount ?? budget.Examples(pool)!.Value, budget.TokenCount is not null);
        problems.AddRange(strata.Problems(WhenShort));
        return problems.Count > 0
            ? [.. InnerProblemsAnywhere(pool, budget), .. problems]
            : InnerProblems(pool, strata, budget.TokenCount is not null);
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var strata = Shares(pool, picks.Left, picks.TokensLeft is not null);
        var choices = new StratumChoices(
            pool,
            strata,
            Inner with
            {
                Seed = unchecked(Inner.Seed + Seed),
            },
            picks.TokensLeft is not null,
            run
        );
        choices.Fill();
        if (picks.TokensLeft is not null)
        {
            choices.GiveOutWhatIsLeft();
        }

        choices.AddNotes();
        foreach (var pick in choices.Merged())
        {
            picks.Add(pick.Position, pick.Utility, pick.Weight);
        }
    }

    private Strata Shares(SelectionPool pool, long total, bool inTokens) => new(pool, Quotas, MaximumShare, total, inTokens);

    /// <summary>What the inner strategy lacks in each group, with the group's quota.</summary>
    private List<string> InnerProblems(SelectionPool pool, Strata strata, bool inTokens)
    {
        var (asked, found) = (0, new List<(string Problem, string Group)>());
        foreach (var (stratum, quota) in strata.All.Zip(strata.Quotas()))
        {
            if (StratumChoices.Budget(pool, stratum, quota, inTokens) is { } budget)
            {
                using var part = pool.At(stratum.Positions);
                found.AddRange(Inner.AllProblems(part, budget).Select(problem => (problem, $"\"{stratum.Name}\"")));
                asked++;
            }
        }

        // Scores or features are missing everywhere or nowhere: such things are said once, without the groups' names.
        return
        [
            .. found
                .GroupBy(pair => pair.Problem, pair => pair.Group)
                .Select(groups =>
                {
                    var names = groups.ToList();
                    return names.Count == asked && asked > 1
                        ? groups.Key
                        : $"In the {(names.Count == 1 ? "group" : "groups")} {InfluenceException.List(names)}: {groups.Key}";
                }),
        ];
    }

    /// <summary>Where there are no quotas yet: what the inner strategy lacks both in the whole pool and in a part of one, so that sizes do
    /// not matter.</summary>
    private List<string> InnerProblemsAnywhere(SelectionPool pool, SelectionBudget budget)
    {
        using var part = pool.At([0]);
        return
        [
            .. Inner.AllProblems(pool, budget).Except(budget.Problems(pool)).Intersect(Inner.AllProblems(part, SelectionBudget.Count(1))),
        ];
    }
}
