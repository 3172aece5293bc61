namespace LanguageModelAttribution;

/// <summary>How a proponent's score splits over its bytes, one value a byte.</summary>
/// <param name="Read">By where in the passage the hidden states stood that carried it.</param>
/// <param name="Predicted">By the byte whose prediction carried it.</param>
internal sealed record TokenScores(IReadOnlyList<double> Read, IReadOnlyList<double> Predicted);
