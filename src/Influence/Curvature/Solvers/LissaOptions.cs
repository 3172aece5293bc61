using System.Globalization;

namespace Influence.Curvature;

/// <summary>How <see cref="Lissa"/> iterates.</summary>
public sealed record LissaOptions
{
    /// <summary>The matrix.</summary>
    /// <value><see cref="CurvatureMatrix.GaussNewton"/>.</value>
    public CurvatureMatrix Matrix
    {
        get;
        init => field = InfluenceException.Defined(value, nameof(Matrix));
    } = CurvatureMatrix.GaussNewton;

    /// <summary>The damping where a call gives none.</summary>
    /// <value><see cref="Damping.Default"/>.</value>
    public Damping Damping { get; init; } = Damping.Default;

    /// <summary>The number of steps J, one batch each. About scale / damping times ln(1 / error) are needed.</summary>
    /// <value>1,000.</value>
    public int Depth
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"Depth is at least 1, not {value}.");
    } = 1_000;

    /// <summary>Runs over other batches whose results are averaged.</summary>
    /// <value>1.</value>
    public int Repeats
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"Repeats is at least 1, not {value}.");
    } = 1;

    /// <summary>
    /// Examples per step, drawn anew in each pass; at least as many as there are means all, and no noise. A data loader gives its own batches in its own order.
    /// </summary>
    /// <value>128.</value>
    public int BatchSize
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"BatchSize is at least 1, not {value}.");
    } = 128;

    /// <summary>The number that the damped curvature is divided by, at least half of any batch's largest eigenvalue.</summary>
    /// <value>Null: the largest eigenvalue over all examples by power iteration, times 1.1, or times 2 where batches are parts.</value>
    public double? Scale
    {
        get;
        init => field = value is null or (> 0 and < double.PositiveInfinity)
            ? value
            : throw new InfluenceException($"Scale is a positive number; found {value.Value.ToString(CultureInfo.InvariantCulture)}.");
    }

    /// <summary>
    /// The relative residual |b - A x| / |b| above which the result is reported as short of its aim. With all examples in each step it also ends the run.
    /// </summary>
    /// <value>0.01.</value>
    public double Tolerance
    {
        get;
        init => field = value is > 0 and < 1
            ? value
            : throw new InfluenceException($"Tolerance lies between 0 and 1; found {value.ToString(CultureInfo.InvariantCulture)}.");
    } = 1e-2;

    /// <summary>The seed of the batches' order and of the estimates.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }
}
