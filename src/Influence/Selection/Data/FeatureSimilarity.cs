namespace Influence.Selection;

/// <summary>How alike two candidates are, by their features; never negative.</summary>
public enum FeatureSimilarity
{
    /// <summary>(1 + cos) / 2: directions count, lengths do not. A row of zeros is at 1/2 from everything.</summary>
    Cosine,

    /// <summary>C - |x - y| with the euclidean distance, and C the largest distance there is (beyond 8,192 candidates, a bound of
    /// it).</summary>
    Euclidean,

    /// <summary>C - sum |x_j - y_j|, with C as for <see cref="Euclidean"/>.</summary>
    Manhattan,
}
