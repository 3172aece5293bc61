namespace Influence.Gradients;

/// <summary>
/// Counted cost of the ways to contract gradients, in multiply-adds; bytes that must travel through memory count too, at
/// the rate a processor core does arithmetic meanwhile.
/// </summary>
internal static class ContractionCost
{
    /// <summary>
    /// Multiply-adds in the time of moving one number to or from memory: about 25 G/s per core against 2.5 G numbers/s.
    /// Only its order of magnitude matters: the choices it decides differ by much more.
    /// </summary>
    private const double PerNumberMoved = 10;

    /// <summary>||G||^2 of one example over pairs of positions: T^2 (I + O), two T x T matrices written and read.</summary>
    public static double GhostNorm(FactoredGradients g) =>
        ((double)g.Positions * g.Positions * (g.Inputs + g.Outputs)) + (4.0 * PerNumberMoved * g.Positions * g.Positions);

    /// <summary>||G||^2 of one example by forming G: T O I, O I written and read.</summary>
    public static double DenseNorm(FactoredGradients g) =>
        ((double)g.Positions * g.Outputs * g.Inputs) + (2 * PerNumberMoved * g.Outputs * g.Inputs);

    /// <summary>One example's share of a batch's gradient where its own was written out: O I read.</summary>
    public static double DenseSum(FactoredGradients g) => PerNumberMoved * g.Outputs * g.Inputs;

    /// <summary>One example's share of a batch's gradient from factors, one matrix product: T O I.</summary>
    public static double FactoredSum(FactoredGradients g) => (double)g.Positions * g.Outputs * g.Inputs;

    /// <summary>All products of one training example with Q queries over pairs of positions.</summary>
    public static double Ghost(long queries, long queryPositions, long positions, long inputs, long outputs)
    {
        var pairs = (double)queries * queryPositions * positions;
        return (pairs * (inputs + outputs)) + (4 * PerNumberMoved * pairs);
    }

    /// <summary>All products of one training example with Q written-out query gradients, its own written out first.</summary>
    public static double Dense(long queries, long positions, long inputs, long outputs)
    {
        var size = (double)inputs * outputs;
        return (positions * size) + (2 * PerNumberMoved * size) + (queries * size);
    }

    /// <summary>All products of one training example with Q written-out query gradients, sum over t of d_t' (G_q a_t).</summary>
    public static double Factored(long queries, long positions, long inputs, long outputs) =>
        ((double)queries * positions * outputs * (inputs + 1)) + (2 * PerNumberMoved * queries * positions * outputs);
}
