namespace Influence.Evaluation;

/// <summary>A query that a metric could not judge.</summary>
/// <param name="QueryId">Its id.</param>
/// <param name="Reason">Why, for example "every run measured the same".</param>
public sealed record DroppedQuery(long QueryId, string Reason);
