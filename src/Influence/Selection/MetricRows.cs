namespace Influence.Selection;

/// <summary>Several metrics of the same candidates, in step.</summary>
internal static class MetricRows
{
    /// <summary>The metric whose order of candidates counts; refuses metrics of unlike candidates.</summary>
    public static ExampleScores First(IReadOnlyList<ExampleScores> metrics)
    {
        ArgumentNullException.ThrowIfNull(metrics);
        if (metrics.Count == 0)
        {
            throw new InfluenceException("There is no metric: at least one is needed.");
        }

        // Symmetric: what the first lacks is as wrong as what only the first has.
        var all = metrics[0].Ids.ToHashSet();
        var some = new HashSet<long>(all);
        foreach (var metric in metrics.Skip(1))
        {
            all.IntersectWith(metric.Ids);
            some.UnionWith(metric.Ids);
        }

        some.ExceptWith(all);
        if (some.Count > 0)
        {
            throw new InfluenceException(
                $"Every metric scores the same candidates; these are not in all of the {metrics.Count} metrics: "
                    + $"{InfluenceException.List([.. some.Order()])}."
            )
            {
                ExampleIds = [.. some.Order()],
            };
        }

        return metrics[0];
    }

    /// <summary>A metric's values in the order of the ids.</summary>
    public static double[] InStep(ExampleScores metric, IReadOnlyList<long> ids)
    {
        if (metric.Ids.SequenceEqual(ids))
        {
            return [.. metric.Values];
        }

        var places = metric.Ids.Select((id, i) => (id, i)).ToDictionary(pair => pair.id, pair => pair.i);
        return [.. ids.Select(id => metric[places[id]])];
    }
}
