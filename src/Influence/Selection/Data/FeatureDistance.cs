namespace Influence.Selection;

/// <summary>How far two rows of features are apart.</summary>
public enum FeatureDistance
{
    /// <summary>1 - cosine; a row of zeros is at 1 from everything.</summary>
    Cosine,

    /// <summary>The Euclidean distance.</summary>
    Euclidean,
}
