namespace Influence.Evaluation;

/// <summary>A query that a metric could not judge.</summary>
/// <param name="QueryId">Its id.</param>
/// <param name="Reason">Why, for example "every run measured the same".</param>
public sealed record DroppedQuery(long QueryId, string Reason)
{
    /// <summary>The error of a metric to which no query is left.</summary>
    internal static InfluenceException NoneLeft(IEnumerable<DroppedQuery> dropped) =>
        new($"No query can be judged: {InfluenceException.List([.. dropped.Select(d => $"query {d.QueryId}, {d.Reason}")])}.");
}
