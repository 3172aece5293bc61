namespace Influence.Selection;

/// <summary>Scores of several kinds, joined by id.</summary>
internal static class Indicators
{
    /// <summary>One row an example, in the first's order.</summary>
    public static double[][] Rows(IReadOnlyList<ExampleScores> columns, string what)
    {
        foreach (var column in columns.Skip(1))
        {
            if (column.Count != columns[0].Count || !column.Ids.ToHashSet().SetEquals(columns[0].Ids))
            {
                throw new InfluenceException(
                    $"{what} are of the same examples, by id; \"{columns[0].Title}\" and \"{column.Title}\" are not."
                );
            }
        }

        var places = columns.Select(c => c.Ids.Select((id, i) => (id, i)).ToDictionary(p => p.id, p => p.i)).ToList();
        double[][] rows = [.. columns[0].Ids.Select(id => columns.Select((c, k) => c[places[k][id]]).ToArray())];
        List<long> broken = [.. columns[0].Ids.Where((_, i) => rows[i].Any(double.IsNaN))];
        return broken.Count == 0
            ? rows
            : throw new InfluenceException($"{what} are numbers; those of these examples are not: ids {InfluenceException.List(broken)}.")
            {
                ExampleIds = broken,
            };
    }
}
