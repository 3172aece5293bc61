namespace TrainingLoop;

/// <summary>How well a model was doing.</summary>
/// <param name="Steps">Steps before it was judged.</param>
/// <param name="Loss">On the held-out examples.</param>
/// <param name="Accuracy">On the held-out examples.</param>
internal sealed record CurvePoint(int Steps, double Loss, double Accuracy);

/// <summary>What one run came to.</summary>
/// <param name="Method">How it was trained.</param>
/// <param name="Seed">It decides the weights at the beginning and the order of the examples.</param>
/// <param name="Curve">From before the first step to after the last.</param>
/// <param name="StepSeconds">What each step took.</param>
/// <param name="NoisyShare">The share of noisy examples in what was trained on, by weight.</param>
/// <param name="Findings">What recorders found; null where there were none.</param>
internal sealed record TrainingRun(
    Method Method,
    int Seed,
    IReadOnlyList<CurvePoint> Curve,
    IReadOnlyList<double> StepSeconds,
    double NoisyShare,
    Findings? Findings
)
{
    /// <summary>The curve at any number of steps, along a straight line between two points of it.</summary>
    public CurvePoint At(double steps)
    {
        var next = Math.Clamp(Curve.Count(point => point.Steps < steps), 1, Curve.Count - 1);
        var (before, after) = (Curve[next - 1], Curve[next]);
        var way = Math.Clamp((steps - before.Steps) / (after.Steps - before.Steps), 0, 1);
        return new CurvePoint((int)Math.Round(steps), Between(before.Loss, after.Loss), Between(before.Accuracy, after.Accuracy));

        double Between(double a, double b) => a + (way * (b - a));
    }
}
