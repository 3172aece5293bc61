namespace Influence.Selection;

/// <summary>What greedy maximises: sum over picks of relevance + scale sum_i max(covered_i, max over picks s(i, pick)).</summary>
/// <param name="Similarities">Between all candidates.</param>
/// <param name="Scale">Of coverage.</param>
/// <param name="Relevance">By position; null: none.</param>
/// <param name="Covered">What covers each candidate before the first pick; null: nothing.</param>
internal sealed record CoverageObjective(Similarities Similarities, double Scale = 1, double[]? Relevance = null, float[]? Covered = null)
{
    /// <summary>Of gains as they are measured, in the unit of the similarities.</summary>
    public double GainScale => Scale * Similarities.Unit;

    public float[] CoveredAt(int[] positions) =>
        Covered is null ? new float[positions.Length] : Array.ConvertAll(positions, p => Covered[p]);

    public double[]? RelevanceAt(int[] positions) => Relevance is null ? null : Array.ConvertAll(positions, p => Relevance[p]);
}
