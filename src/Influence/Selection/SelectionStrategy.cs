using System.Diagnostics;

namespace Influence.Selection;

/// <summary>
/// A way to choose training data: a pool and a budget in, ids, weights and the utility of each pick out. The same seed gives
/// the same answer, whatever the order of the candidates; ties go to the lowest id.
/// </summary>
/// <remarks>
/// <para>
/// Positive scores are proponents, so strategies pick high scores. A budget in tokens works like one in examples: what no
/// longer fits is passed over. Strategies read the pool and change nothing; one object serves any number of calls.
/// </para>
/// <para>
/// To write one: derive a record, add to <see cref="Picks"/> until it is full, and draw random numbers from
/// <see cref="Run.Uniform"/> or <see cref="Run.Random"/> only. Go through candidates by position and
/// through groups by the lowest position in each: group names come in the order in which candidates were given.
/// </para>
/// <code>
/// public sealed record Shortest : SelectionStrategy
/// {
///     public override string Name => "shortest";
///
///     protected override void Pick(SelectionPool pool, Picks picks, Run run)
///     {
///         var order = Enumerable.Range(0, pool.Count).OrderBy(i => pool.Lengths![i]);
///         picks.AddInOrder(order, [.. pool.Lengths!.Select(length => -(double)length)]);
///     }
/// }
/// </code>
/// </remarks>
public abstract partial record SelectionStrategy
{
    /// <summary>Of everything that is random.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>What the literature calls it.</summary>
    public abstract string Name { get; }

    /// <summary>Whether the answer may have fewer examples than the budget allows, as where a threshold or a cap decides.</summary>
    protected virtual bool MayPickFewer => false;

    /// <summary>Chooses.</summary>
    /// <param name="pool">What there is to choose from; it stays the caller's.</param>
    /// <param name="budget">How much to choose.</param>
    /// <param name="progress">Told now and then.</param>
    /// <param name="cancellationToken">Checked now and then.</param>
    /// <returns>The choice, in the order in which it was made.</returns>
    /// <exception cref="InfluenceException">The pool lacks what the strategy reads, or the budget cannot be met; all problems at once,
    /// before anything is done.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public SelectedExamples Select(
        SelectionPool pool,
        SelectionBudget budget,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(budget);
        InfluenceException.ThrowIfAny(AllProblems(pool, budget));
        cancellationToken.ThrowIfCancellationRequested();
        var picks = new Picks(pool, budget);
        var run = new Run(this, pool, progress, cancellationToken);
        Pick(pool, picks, run);
        if (!MayPickFewer && !picks.Full)
        {
            throw new UnreachableException($"{Name} stopped at {picks.Count} examples with room for more.");
        }

        return new SelectedExamples(this, pool, budget, picks, run.Notes);
    }

    /// <summary>Chooses by scores alone.</summary>
    /// <param name="scores">Scores of the candidates; they stay the caller's.</param>
    /// <param name="budget">How much to choose.</param>
    /// <returns>The choice, in the order in which it was made.</returns>
    /// <exception cref="InfluenceException">Scores that are not finite, or anything that the strategy needs beside them.</exception>
    public SelectedExamples Select(InfluenceScores scores, SelectionBudget budget)
    {
        using var pool = new SelectionPool(scores);
        return Select(pool, budget);
    }

    /// <summary>Chooses by scores alone.</summary>
    /// <param name="scores">One score a candidate, the higher the better.</param>
    /// <param name="budget">How much to choose.</param>
    /// <returns>The choice, in the order in which it was made.</returns>
    /// <exception cref="InfluenceException">Scores that are not finite, or anything that the strategy needs beside them.</exception>
    public SelectedExamples Select(ExampleScores scores, SelectionBudget budget)
    {
        using var pool = new SelectionPool(scores);
        return Select(pool, budget);
    }

    /// <summary>Everything that <see cref="Select(SelectionPool, SelectionBudget, IProgress{InfluenceProgress}?, CancellationToken)"/>
    /// would refuse; for strategies that hold others.</summary>
    internal IReadOnlyList<string> AllProblems(SelectionPool pool, SelectionBudget budget) =>
        [.. budget.Problems(pool), .. Problems(pool, budget)];

    /// <summary>Adds to the picks until they are full (or sooner, where <see cref="MayPickFewer"/>).</summary>
    /// <param name="pool">What there is to choose from.</param>
    /// <param name="picks">Empty.</param>
    /// <param name="run">Random numbers, progress and cancellation.</param>
    protected abstract void Pick(SelectionPool pool, Picks picks, Run run);

    /// <summary>Everything that the strategy lacks, each with what to write instead.</summary>
    /// <param name="pool">What there is to choose from.</param>
    /// <param name="budget">How much to choose.</param>
    /// <returns>Empty where nothing is wrong.</returns>
    protected virtual IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => [];

    /// <summary>For <see cref="Problems"/>: the strategy reads scores.</summary>
    private protected IEnumerable<string> NeedsScores(SelectionPool pool) =>
        pool.Scores is null ? [$"{Name} reads scores: new SelectionPool(scores)."] : [];

    /// <summary>For <see cref="Problems"/>: the strategy compares candidates by features.</summary>
    private protected IEnumerable<string> NeedsFeatures(SelectionPool pool) =>
        pool.Features is null
            ? [$"{Name} compares candidates by their features: new SelectionPool(...) {{ Features = ... }}, [candidates, d]."]
            : [];

    /// <summary>For <see cref="Problems"/>: the strategy reads the candidates' groups, one for each.</summary>
    private protected IEnumerable<string> NeedsGroups(SelectionPool pool)
    {
        if (pool.Groups is not { } groups)
        {
            yield return $"{Name} reads the candidates' groups: new SelectionPool(...) {{ Groups = ExampleGroups.Of(ids, groups) }}.";
            yield break;
        }

        var without = pool.Ids.Where(id => !groups.GroupsOf.ContainsKey(id)).ToList();
        if (without.Count > 0)
        {
            yield return $"These candidates are in no group: {InfluenceException.List(without)}.";
        }
    }
}
