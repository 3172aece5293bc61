namespace Influence.Gradients;

/// <summary>What the choice of a contraction depends on.</summary>
/// <param name="Queries">The number of queries, Q.</param>
/// <param name="TrainingExamples">The number of training examples, N.</param>
/// <param name="Tolerance">The relative error that an approximation may make; 0 for none.</param>
/// <param name="QueryBytes">Bytes that all kept queries of all blocks may take.</param>
internal sealed record ScorePlan(long Queries, long TrainingExamples, double Tolerance, long QueryBytes);
