namespace Influence.Groups;

/// <summary>
/// What becomes of the mean over N examples when m of them count c times: the new objective is
/// <code>(sum of all + (c - 1) * sum of the group) / M,   M = N + (c - 1) m</code>
/// Its gradient at the old optimum is -(1 - c) / M times the group's sum, and its curvature H + r (H - H_group) with
/// r = (1 - c) m / M; for c = 0 that is p / (1 - p), with p = m / N.
/// </summary>
/// <param name="Examples">N.</param>
/// <param name="Members">m.</param>
/// <param name="Weight">c.</param>
internal readonly record struct Reweighting(int Examples, int Members, double Weight)
{
    /// <summary>M, what the examples count in all afterwards.</summary>
    public double Total => Examples + ((Weight - 1) * Members);

    /// <summary>The factor of the group's summed gradient.</summary>
    public double Step => (1 - Weight) / Total;

    /// <summary>r, the factor of the curvature's change.</summary>
    public double Change => (1 - Weight) * Members / Total;
}
