using Influence.Groups;
using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// DoGE: raises the weight of groups whose gradient points the way of the targets' gradients. One multiplicative step per
/// measurement.
/// </summary>
/// <remarks>
/// w_j proportional to w_j exp(eta W_j), W_j = sum_i &lt;mean gradient of target i, mean gradient of group j&gt;. The scores are plain
/// gradient products: group influence with the identity in place of curvature. With the groups themselves as targets the
/// mixture suits all of them; with targets of their own it suits those. Reference: Fan, Pagliardini and Jaggi, DoGE: Domain
/// Reweighting with Generalization Estimation (2024).
/// </remarks>
public sealed record Doge
{
    /// <summary>eta.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double LearningRate
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>
    /// Whether W is divided by its largest magnitude, so that the learning rate means the same whatever the size of the
    /// gradients: the best group's weight then gains a factor of at most exp(2 eta) on the worst's.
    /// </summary>
    /// <value>true; the paper's formula is with false.</value>
    public bool Normalized { get; init; } = true;

    /// <summary>One step.</summary>
    /// <param name="scores">Gradient products of training groups with targets, per token.</param>
    /// <param name="present">The mixture to step from; null for the uniform one.</param>
    /// <returns>The next mixture.</returns>
    /// <exception cref="InfluenceException">Groups that do not match, or a learning rate that is negative or not finite.</exception>
    public Mixture Update(GroupScores scores, Mixture? present = null)
    {
        ArgumentNullException.ThrowIfNull(scores);
        string[] groups = [.. scores.TrainGroups.Select(g => g.Name)];
        present ??= Mixture.Uniform(groups);
        double[] pull = [.. groups.Select((_, j) => Enumerable.Range(0, scores.QueryGroups.Count).Sum(i => scores.PerToken(i, j)))];
        var scale = Normalized && pull.Max(Math.Abs) is var largest and > 0 ? largest : 1;
        return new(groups, Simplex.Tilted(present.WeightsOf(groups, "the scores"), [.. pull.Select(w => LearningRate * w / scale)]));
    }
}
