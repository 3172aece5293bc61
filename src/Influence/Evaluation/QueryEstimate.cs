namespace Influence.Evaluation;

/// <summary>A query's value with its interval.</summary>
/// <param name="QueryId">The query's id.</param>
/// <param name="Estimate">The value; its interval is over what was drawn for this query alone, as the subsets.</param>
public sealed record QueryEstimate(long QueryId, Estimate Estimate);
