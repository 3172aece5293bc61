namespace LanguageModelAttribution;

/// <summary>How a proponent's score splits over its bytes, one value a byte; each sums to the score.</summary>
/// <param name="Predicted">By the byte whose prediction carried it: what the query profits from having been learnt.</param>
/// <param name="Read">By where in the passage the hidden states stood that carried it.</param>
internal sealed record ByteScores(IReadOnlyList<double> Predicted, IReadOnlyList<double> Read)
{
    /// <summary>From positions to bytes: position t reads byte t and predicts byte t + 1.</summary>
    public static ByteScores FromPositions(IReadOnlyList<double> predictions, IReadOnlyList<double> hidden) =>
        new([0, .. predictions], [.. hidden, 0]);
}
