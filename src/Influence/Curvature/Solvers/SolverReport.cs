using System.Globalization;

namespace Influence.Curvature;

/// <summary>How far a solver came, over all right-hand sides that it was given.</summary>
internal sealed class SolverReport
{
    private readonly double _tolerance;

    public SolverReport(double tolerance) => _tolerance = tolerance;

    public int RightHandSides { get; private set; }

    public int Iterations { get; private set; }

    /// <summary>The largest relative residual |b - A x| / |b|, computed anew from x.</summary>
    public double Residual { get; private set; }

    public int FellShort { get; private set; }

    public void Add(int iterations, double[] residuals)
    {
        RightHandSides += residuals.Length;
        Iterations = Math.Max(Iterations, iterations);
        Residual = Math.Max(Residual, residuals.DefaultIfEmpty(0).Max());
        FellShort += residuals.Count(r => !(r <= _tolerance));
    }

    public override string? ToString() =>
        RightHandSides == 0
            ? null
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{Iterations} iterations, largest relative residual {Residual:G3} over {RightHandSides} right-hand sides"
            )
                + (
                    FellShort == 0
                        ? string.Empty
                        : string.Create(CultureInfo.InvariantCulture, $"; {FellShort} above the tolerance of {_tolerance:G3}")
                );
}
