using Influence.Groups;

namespace Influence.Mixtures;

/// <summary>
/// Group influence in the form that mixtures are made from: per-token means, each target's row divided by a scale so that
/// targets count alike whatever their units.
/// </summary>
/// <remarks>
/// The scale of target i is max_j S_ij, so that 1 is what the best single group would give. Where that is not positive (a
/// target whose influence is negative everywhere), or less than a thousandth of the largest magnitude, the scale is
/// max_j |S_ij|: signs stay and no number exceeds 1000. A row of zeros stays zero. The paper adds 1e-8 to the scale instead,
/// which would drown per-token influences of that size.
/// </remarks>
internal sealed class MixtureTargets
{
    private const double SmallestShare = 1e-3;

    // Gradients of single precision are good to about this, and constraints are met to 1e-6.
    private const double SmallestSpread = 1e-7;

    public MixtureTargets(GroupScores scores)
    {
        Names = scores.QueryGroups;
        Groups = [.. scores.TrainGroups.Select(g => g.Name)];
        Raw = scores.PerToken();
        Scales = [.. Enumerable.Range(0, Names.Count).Select(i => ScaleOf(Row(i)))];
        Normalized = new double[Names.Count, Groups.Count];
        for (var i = 0; i < Names.Count; i++)
        {
            for (var j = 0; j < Groups.Count; j++)
            {
                Normalized[i, j] = Raw[i, j] / Scales[i];
            }
        }
    }

    /// <summary>The n targets.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The m training groups.</summary>
    public IReadOnlyList<string> Groups { get; }

    /// <summary>S, <c>[n, m]</c>.</summary>
    public double[,] Raw { get; }

    /// <summary>S_ij / scale_i, <c>[n, m]</c>.</summary>
    public double[,] Normalized { get; }

    /// <summary>What each row was divided by, more than 0.</summary>
    public double[] Scales { get; }

    /// <summary>Whether no group helps the target.</summary>
    public bool NothingHelps(int target) => Row(target).Max() <= 0;

    /// <summary>Whether mixtures differ for the target by more than rounding: of influence that is the same from every group they do
    /// not.</summary>
    public bool Varies(int target)
    {
        double[] row = [.. Enumerable.Range(0, Groups.Count).Select(j => Normalized[target, j])];
        return row.Max() - row.Min() > SmallestSpread;
    }

    /// <summary>The target's predicted influence under these weights, normalised: Phat_i.</summary>
    public double Predict(int target, IReadOnlyList<double> weights)
    {
        var sum = 0.0;
        for (var j = 0; j < Groups.Count; j++)
        {
            sum += Normalized[target, j] * weights[j];
        }

        return sum;
    }

    /// <summary>Phat, one a target.</summary>
    public double[] Predict(IReadOnlyList<double> weights) => [.. Enumerable.Range(0, Names.Count).Select(i => Predict(i, weights))];

    private IEnumerable<double> Row(int i) => Enumerable.Range(0, Groups.Count).Select(j => Raw[i, j]);

    private static double ScaleOf(IEnumerable<double> row)
    {
        var (largest, magnitude) = (row.Max(), row.Max(Math.Abs));
        return largest > SmallestShare * magnitude ? largest
            : magnitude > 0 ? magnitude
            : 1;
    }
}
