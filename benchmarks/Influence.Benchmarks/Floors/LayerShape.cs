namespace Influence.Benchmarks.Floors;

/// <summary>
/// A layer whose gradient is a sum of outer products over positions: linear layers, and convolutions over their patches.
/// All counts are multiply-adds of one example.
/// </summary>
/// <param name="Name">For the reader.</param>
/// <param name="Positions">T.</param>
/// <param name="Inputs">I.</param>
/// <param name="Outputs">O.</param>
/// <param name="InputGradient">Whether anything before the layer needs a gradient.</param>
/// <param name="SharesInput">Whether another layer sees the same input, and its covariance is counted there.</param>
internal sealed record LayerShape(
    string Name,
    long Positions,
    long Inputs,
    long Outputs,
    bool InputGradient = true,
    bool SharesInput = false
)
{
    /// <summary>Forward; the gradient of the input and the gradient of the weight cost the same.</summary>
    public double Pass => (double)Positions * Inputs * Outputs;

    /// <summary>I': every layer here has a bias.</summary>
    public double InputsWithBias => Inputs + 1;

    /// <summary>The gradient of weight and bias, T O I'.</summary>
    public double PassWithBias => Positions * InputsWithBias * Outputs;

    /// <summary>Both covariances' sums, T (I'^2 + O^2); a shared input's once.</summary>
    public double Covariances => Positions * ((SharesInput ? 0 : InputsWithBias * InputsWithBias) + ((double)Outputs * Outputs));

    /// <summary>I'^3 + O^3, what eigendecompositions go by; once for all examples.</summary>
    public double Cubes => (SharesInput ? 0 : Math.Pow(InputsWithBias, 3)) + Math.Pow(Outputs, 3);

    /// <summary>Two rotations of a gradient written out, O I' (O + I').</summary>
    public double GradientRotation => Outputs * InputsWithBias * (Outputs + InputsWithBias);

    /// <summary>Into the eigenbasis: of the factors before they are multiplied, or of the gradient.</summary>
    public double RotationToEigenbasis => Math.Min(Covariances, GradientRotation);

    /// <summary>The cheapest form of all products with Q queries, for one of N training examples, and its name.</summary>
    public (double MultiplyAdds, string Form) Products(long queries, long train)
    {
        // Query gradients are written out once, for all training examples.
        var writtenQueries = Pass * queries / train;
        return new[]
        {
            ((double)queries * Positions * Positions * (Inputs + Outputs), "over pairs of positions"),
            (((double)queries * Inputs * Outputs) + Pass + writtenQueries, "both written out"),
            ((queries * Pass) + writtenQueries, "queries written out"),
        }.MinBy(form => form.Item1);
    }

    /// <summary>
    /// The same where the queries are preconditioned, which makes them dense: their own making is not counted here. With one
    /// position and a tolerance, one term of rank one is the least.
    /// </summary>
    public (double MultiplyAdds, string Form) PreconditionedProducts(long queries, bool exact)
    {
        var size = InputsWithBias * Outputs;
        return Positions == 1
            ? exact
                ? (queries * size, "exact")
                : (queries * (InputsWithBias + Outputs), "rank one, the least")
            : new[] { ((queries * size) + PassWithBias, "both written out"), (queries * PassWithBias, "queries written out") }.MinBy(form =>
                form.Item1
            );
    }

    /// <summary>The cheapest form of one squared gradient norm.</summary>
    public double Norm =>
        Positions == 1 ? Inputs + Outputs : Math.Min(Pass + ((double)Inputs * Outputs), (double)Positions * Positions * (Inputs + Outputs));
}
