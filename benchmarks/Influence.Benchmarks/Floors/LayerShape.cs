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
internal sealed record LayerShape(string Name, long Positions, long Inputs, long Outputs, bool InputGradient = true)
{
    /// <summary>Forward; the gradient of the input and the gradient of the weight cost the same.</summary>
    public double Pass => (double)Positions * Inputs * Outputs;

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

    /// <summary>The cheapest form of one squared gradient norm.</summary>
    public double Norm => Positions == 1
        ? Inputs + Outputs
        : Math.Min(Pass + ((double)Inputs * Outputs), (double)Positions * Positions * (Inputs + Outputs));
}
