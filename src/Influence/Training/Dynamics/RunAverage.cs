namespace Influence.Training;

/// <summary>
/// One score from several runs that differ in their seed, as EL2N and GraNd are defined (a mean) and forgetting events are
/// ranked (a sum): <c>RunAverage.Mean([.. runs.Select(r => r.El2n(..10))])</c>.
/// </summary>
public static class RunAverage
{
    /// <summary>The mean over runs.</summary>
    /// <param name="runs">The same score of each run, of the same examples in any order.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">No run, runs of different scores or of the same with other settings (such as the range of presentations), or runs of different examples.</exception>
    public static ExampleScores Mean(params IReadOnlyList<ExampleScores> runs) => Of(runs, "mean", runs?.Count ?? 1);

    /// <summary>The sum over runs.</summary>
    /// <param name="runs">The same score of each run, of the same examples in any order.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">No run, runs of different scores or of the same with other settings (such as the range of presentations), or runs of different examples.</exception>
    public static ExampleScores Sum(params IReadOnlyList<ExampleScores> runs) => Of(runs, "sum", 1);

    private static ExampleScores Of(IReadOnlyList<ExampleScores>? runs, string how, int divisor)
    {
        ArgumentNullException.ThrowIfNull(runs);
        if (runs.Count == 0)
        {
            throw new InfluenceException("At least one run is expected; found none.");
        }

        var titles = runs.Select(r => r.Title).Distinct().ToList();
        if (titles.Count > 1)
        {
            throw new InfluenceException($"Runs are averaged of one score; found {string.Join(", ", titles)}.");
        }

        // The estimator holds the settings, such as the range of presentations.
        var estimators = runs.Select(r => r.Metadata.Estimator).Distinct().ToList();
        if (estimators.Count > 1)
        {
            throw new InfluenceException($"Runs are averaged of one score with the same settings; found {string.Join(" and ", estimators)}.");
        }

        var values = runs.Select(r => r.Ids.Zip(r.Values).ToDictionary(s => s.First, s => s.Second)).ToList();
        var missing = values.SelectMany(v => v.Keys).Distinct().Where(id => values.Any(v => !v.ContainsKey(id))).Order().ToList();
        if (missing.Count > 0)
        {
            throw new InfluenceException(
                $"Every run scores the same examples; these are missing from at least one run: ids {InfluenceException.List(missing)}.")
            {
                ExampleIds = missing,
            };
        }

        long[] ids = [.. values[0].Keys.Order()];
        var notes = $"{how} over {runs.Count} runs; {runs[0].Metadata.Notes}";
        return new ExampleScores(
            titles[0], ids, Array.ConvertAll(ids, id => values.Sum(v => v[id]) / divisor), runs[0].Metadata with { Notes = notes });
    }
}
