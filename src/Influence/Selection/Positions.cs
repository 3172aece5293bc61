namespace Influence.Selection;

/// <summary>From ids to positions in a data set.</summary>
internal static class Positions
{
    /// <summary>The positions of some ids.</summary>
    /// <param name="wanted">The ids.</param>
    /// <param name="ids">The data set's ids in its order; null where they are the positions themselves.</param>
    /// <param name="count">The number of its examples, where it is known.</param>
    /// <exception cref="InfluenceException">An id that is not there, or another number of ids than of examples.</exception>
    public static long[] Of(IReadOnlyList<long> wanted, IReadOnlyList<long>? ids, long? count)
    {
        if (ids is null)
        {
            var outside = wanted.Where(id => id < 0 || id >= (count ?? long.MaxValue)).ToList();
            return outside.Count == 0 ? [.. wanted] : throw Unknown(outside, " Where ids are not positions, pass the data set's ids.");
        }

        if (count is not null && ids.Count != count)
        {
            throw new InfluenceException($"One id for each of the {count} examples is expected; found {ids.Count}.");
        }

        var positions = new Dictionary<long, long>(ids.Count);
        var repeated = ids.Where((id, i) => !positions.TryAdd(id, i)).Distinct().ToList();
        if (repeated.Count > 0)
        {
            throw new InfluenceException($"The data set has ids that repeat: {InfluenceException.List(repeated)}.")
            {
                ExampleIds = repeated,
            };
        }

        var unknown = wanted.Where(id => !positions.ContainsKey(id)).ToList();
        return unknown.Count == 0 ? [.. wanted.Select(id => positions[id])] : throw Unknown(unknown, string.Empty);
    }

    private static InfluenceException Unknown(List<long> ids, string advice) =>
        new($"No example of the data set has the id {InfluenceException.List(ids)}.{advice}") { ExampleIds = ids };
}
