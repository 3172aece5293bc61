namespace Influence.Gradients;

/// <summary>The sizes of gradients that are kept as factors: what the cost of contracting them depends on.</summary>
/// <param name="Positions">T.</param>
/// <param name="Inputs">I.</param>
/// <param name="Outputs">O.</param>
/// <param name="Weight">Whether the weight takes part; a bias alone is never contracted.</param>
internal readonly record struct FactorShape(long Positions, long Inputs, long Outputs, bool Weight);
