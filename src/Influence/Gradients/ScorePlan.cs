namespace Influence.Gradients;

/// <summary>What the choice of a contraction depends on.</summary>
/// <param name="Queries">The number of queries, Q.</param>
/// <param name="Passes">The passes over the training examples that written-out queries would take within the memory budget.</param>
/// <param name="Strongest">Whether only the strongest pairs are wanted: they are searched, and what is found is exact.</param>
internal sealed record ScorePlan(long Queries, long Passes, bool Strongest = false);
