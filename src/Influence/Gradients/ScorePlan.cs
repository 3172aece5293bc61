namespace Influence.Gradients;

/// <summary>What the choice of a contraction depends on.</summary>
/// <param name="Queries">The number of queries, Q.</param>
/// <param name="Passes">The passes over the training examples that written-out queries would take within the memory budget.</param>
internal sealed record ScorePlan(long Queries, long Passes);
