using System.Globalization;

namespace Influence.Curvature;

/// <summary>How <see cref="Arnoldi"/> is fitted.</summary>
public sealed record ArnoldiOptions
{
    /// <summary>The matrix.</summary>
    /// <value><see cref="CurvatureMatrix.GaussNewton"/>.</value>
    public CurvatureMatrix Matrix
    {
        get;
        init => field = InfluenceException.Defined(value, nameof(Matrix));
    } = CurvatureMatrix.GaussNewton;

    /// <summary>What is added to the eigenvalues that are kept.</summary>
    /// <value>0, as the method is published.</value>
    public Damping Damping { get; init; } = Damping.Absolute(0);

    /// <summary>The largest size of the Krylov space: as many passes over the training examples, and vectors in memory.</summary>
    /// <value>200.</value>
    public int Iterations
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"Iterations is at least 1, not {value}.");
    } = 200;

    /// <summary>The number of eigenvalues that are kept, the largest in magnitude.</summary>
    /// <value>100.</value>
    public int TopK
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"TopK is at least 1, not {value}.");
    } = 100;

    /// <summary>Stops where what is new in a product is at most this times the largest eigenvalue: the Krylov space is complete.</summary>
    /// <value>1e-7.</value>
    public double Tolerance
    {
        get;
        init => field = value is > 0 and < 1
            ? value
            : throw new InfluenceException($"Tolerance lies between 0 and 1; found {value.ToString(CultureInfo.InvariantCulture)}.");
    } = 1e-7;

    /// <summary>The seed of the first vector.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }
}
