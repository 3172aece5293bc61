namespace Influence.Tests.Oracles;

/// <summary>Metadata without what the run took, which no two runs share.</summary>
internal static class Unpriced
{
    public static ScoreMetadata WithoutCost(this ScoreMetadata metadata) => metadata with { Cost = null };
}
