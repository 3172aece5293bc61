namespace Influence.Evaluation;

/// <summary>Queries that a metric could not judge, each with the reason why.</summary>
internal static class DroppedQueries
{
    /// <summary>The error of a metric to which no query is left.</summary>
    public static InfluenceException NoneLeft(IEnumerable<(long QueryId, string Reason)> dropped) =>
        new($"No query can be judged: {InfluenceException.List([.. dropped.Select(d => $"query {d.QueryId}, {d.Reason}")])}.");
}
