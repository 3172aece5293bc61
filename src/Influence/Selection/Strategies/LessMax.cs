namespace Influence.Selection;

/// <summary>
/// LESS: the candidates that help one task most. With A[q, i] the score of candidate i for query q and Q_t the queries of
/// task t, the best are picked by
/// <code>s_i = max over tasks t of  mean over q in Q_t of A[q, i]</code>
/// </summary>
/// <remarks>
/// <para>
/// Tasks are <see cref="SelectionPool.Tasks"/>; without them each query is a task. One example that is very good for one
/// task beats one that is good for all. Wrong where tasks differ in scale: the task with the largest scores takes everything
/// (a note says how the picks are shared out). Score by cosine, or take <see cref="Bids"/> or <see cref="RoundRobin"/>.
/// </para>
/// <para>
/// Cost: one pass over the scores and a sort. Reference: Xia, Malladi, Gururangan, Arora, Chen, "LESS: Selecting Influential
/// Data for Targeted Instruction Tuning", ICML 2024, section 4.2 and its code, which averages cosines in a task.
/// </para>
/// </remarks>
public sealed record LessMax : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "LESS (max over tasks)";

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var targets = new TargetScores(pool);
        var (best, taskOf) = (new double[pool.Count], new int[pool.Count]);
        Array.Fill(best, double.NegativeInfinity);
        for (var t = 0; t < targets.Count; t++)
        {
            var scores = targets.Mean(t);
            for (var i = 0; i < scores.Length; i++)
            {
                if (scores[i] > best[i])
                {
                    (best[i], taskOf[i]) = (scores[i], t);
                }
            }

            run.Report(t + 1, targets.Count);
        }

        picks.AddInOrder(Relevance.Descending(best), best);
        run.Note(targets.Shares("Highest for its task", picks.Positions.Select(p => taskOf[p])));
    }
}
