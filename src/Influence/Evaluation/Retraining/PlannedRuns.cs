namespace Influence.Evaluation;

/// <summary>The runs of a plan's subsets: <c>all</c> first, then one subset a step.</summary>
internal static class PlannedRuns
{
    /// <summary>Mean losses, subset by subset and query by query.</summary>
    /// <exception cref="InfluenceException">The runs are of other subsets.</exception>
    public static double[][] Losses(Subsets plan, Retraining.Result runs)
    {
        if (
            runs.Subsets.Count != plan.Count
            || !runs.Subsets.TrainIds.SequenceEqual(plan.TrainIds)
            || !runs.Subsets.Zip(plan).All(p => p.First.Name == p.Second.Name && p.First.Bits.AsSpan().SequenceEqual(p.Second.Bits))
        )
        {
            throw new InfluenceException(
                "The runs are not those of this plan's subsets: write retraining.Run(plan.Subsets, queryIds, "
                    + "train), with a plan of the same scores and settings."
            );
        }

        return runs.Means();
    }

    /// <summary>The rise of the loss above the run on all examples, step by step, for the queries that were measured throughout.</summary>
    public static (double[][] Rises, IReadOnlyList<(long QueryId, string Reason)> Dropped) Rises(Subsets plan, Retraining.Result runs)
    {
        var losses = Losses(plan, runs);
        int[] kept = [.. Enumerable.Range(0, runs.QueryIds.Count).Where(q => losses.All(row => double.IsFinite(row[q])))];
        return kept.Length == 0
            ? throw new InfluenceException("No query was measured by all runs with a finite number.")
            : (
                [.. losses.Skip(1).Select(row => kept.Select(q => row[q] - losses[0][q]).ToArray())],
                [
                    .. Enumerable
                        .Range(0, runs.QueryIds.Count)
                        .Except(kept)
                        .Select(q => (runs.QueryIds[q], "a run's measurement is not finite")),
                ]
            );
    }
}
