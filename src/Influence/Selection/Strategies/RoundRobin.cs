namespace Influence.Selection;

/// <summary>
/// Targets take turns, in their order; each picks the candidate with its highest score among those that are left. Every
/// target is served alike, whatever the scale of its scores.
/// </summary>
/// <remarks>
/// <para>
/// A task's score for a candidate is the highest over the task's queries, as RDS+ has it. A target that finds nothing that
/// fits is passed over. The utility of a pick is its score for the target whose turn it was; utilities of unlike targets do
/// not compare. Wrong where a target has nothing good to pick: it gets its share all the same.
/// </para>
/// <para>
/// Cost: a few passes over the scores; memory of some multiples of the picks beside them, never a sorted copy of each row.
/// Reference: Ivison et al., "Large-Scale Data Selection for Instruction Tuning", 2025 (RDS+), section 3; there the scores are
/// cosines of weighted-mean hidden states.
/// </para>
/// </remarks>
public sealed record RoundRobin : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "round robin";

    /// <summary>Whose turn it is.</summary>
    /// <value>Tasks; without tasks, queries.</value>
    public Kind Turns { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var targets = new TargetScores(pool, Turns == Kind.Queries);
        var total = picks.Room;
        // Four times a fair share: others take some of a target's best before its turn comes.
        var part = (4 * total / targets.Count) + 16;
        var columns = Enumerable.Range(0, targets.Count).Select(t => new BestFirst(() => targets.Max(t), picks, part)).ToList();
        while (!picks.Full)
        {
            foreach (var column in columns)
            {
                if (column.Current is { } best)
                {
                    picks.Add(best.Position, best.Score);
                }

                if (picks.Full)
                {
                    break;
                }
            }

            run.Report(Math.Min(picks.Count, total), total);
        }
    }

    /// <summary>Whose turn it is.</summary>
    public enum Kind
    {
        /// <summary>Tasks where the pool has them, else queries.</summary>
        Tasks,

        /// <summary>Single queries, also where the pool has tasks.</summary>
        Queries,
    }
}
