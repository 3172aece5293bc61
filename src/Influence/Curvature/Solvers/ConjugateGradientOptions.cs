using System.Globalization;

namespace Influence.Curvature;

/// <summary>How <see cref="ConjugateGradient"/> solves.</summary>
public sealed record ConjugateGradientOptions
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

    /// <summary>Stops where |b - A x| is at most this times |b|. In float32 about 1e-6 can be reached.</summary>
    /// <value>1e-6.</value>
    public double Tolerance
    {
        get;
        init => field = value is > 0 and < 1
            ? value
            : throw new InfluenceException($"Tolerance lies between 0 and 1; found {value.ToString(CultureInfo.InvariantCulture)}.");
    } = 1e-6;

    /// <summary>Stops after so many, however far it came; the result says how far. Each is one pass over the training examples.</summary>
    /// <value>500.</value>
    public int MaximumIterations
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"MaximumIterations is at least 1, not {value}.");
    } = 500;

    /// <summary>The seed of the draws that estimate the mean eigenvalue, where the damping is relative.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }
}
