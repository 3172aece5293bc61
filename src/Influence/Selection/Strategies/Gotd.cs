using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// GOT-D: the candidates of which more would bring the pool closest to a target. With f the optimal dual potential of the
/// entropic optimal transport from the candidates (uniform mass) to the target, the calibrated potential
/// c_i = f_i - (1 / (n - 1)) sum over j != i of f_j is the rate at which the distance changes as mass moves to i from the
/// others equally; those with the lowest are picked, and -c_i is a pick's utility.
/// </summary>
/// <remarks>
/// Sinkhorn iterations in the log domain, in float64: N M d once where N M is at most 2^25 and at each iteration beyond, plus
/// two exponentials a pair and iteration. Some hundred targets do for 10^5 candidates; with 10^6 and 10^3 an iteration takes
/// many seconds on two cores. It is a first-order rule: all picks go to where the pool lacks mass at the start, and near
/// duplicates are picked together. The potential is unique up to a constant, which the calibration removes.
/// Kang et al., Get more for less, ICLR 2024.
/// </remarks>
public sealed record Gotd : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "GOT-D";

    /// <summary>Features of the target, <c>[M, d]</c>, of the kind of the pool's; they stay the caller's.</summary>
    public required Tensor Targets { get; init; }

    /// <summary>What transport costs.</summary>
    /// <value><see cref="FeatureDistance.Cosine"/>.</value>
    public FeatureDistance Cost { get; init; }

    /// <summary>The entropic regularisation as a share of the median cost.</summary>
    /// <value>0.05.</value>
    /// <exception cref="InfluenceException">Not a positive number.</exception>
    public double Regularization
    {
        get;
        init => field = Check.Positive(value);
    } = 0.05;

    /// <summary>The sum of the marginals' errors at which the iterations end.</summary>
    /// <value>1e-6.</value>
    /// <exception cref="InfluenceException">Not a positive number.</exception>
    public double Tolerance
    {
        get;
        init => field = Check.Positive(value);
    } = 1e-6;

    /// <summary>At most so many iterations; a note says so where they did not reach the tolerance.</summary>
    /// <value>1,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int MaximumIterations
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1000;

    /// <summary>The settings.</summary>
    /// <returns>The settings in words; of the targets their shape.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"Gotd {{ Targets = [{string.Join(", ", Targets.shape)}], Cost = {Cost}, Regularization = {Regularization}, Tolerance = "
                + $"{Tolerance}, MaximumIterations = {MaximumIterations} }}"
        );

    /// <summary>c from f: the rate of change as mass moves to each from the others equally; sums to 0.</summary>
    internal static double[] Calibrated(double[] potential)
    {
        var sum = potential.Sum();
        return [.. potential.Select(f => potential.Length == 1 ? 0 : f - ((sum - f) / (potential.Length - 1)))];
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        foreach (var problem in NeedsFeatures(pool))
        {
            yield return problem;
        }

        if (pool.Features is not { } features)
        {
            yield break;
        }

        if (Targets is null || Targets.dim() != 2 || Targets.shape[0] == 0 || Targets.shape[1] != features.shape[1])
        {
            yield return $"Targets are [targets, d] = [M, {features.shape[1]}], features as the pool's; found "
                + $"{(Targets is null ? "none" : $"[{string.Join(", ", Targets.shape)}]")}.";
        }
        else if (!IsFinite(Targets))
        {
            yield return "The features of some targets are not finite: leave these out, or find out why they overflow.";
        }
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var transport = new Sinkhorn(pool.Features!, Targets, Cost);
        var median = transport.MedianCost();
        var device = pool.Features!.device;
        var a = full([pool.Count], Kept(1.0 / pool.Count), ScalarType.Float64, device); // [N]
        var b = full([Targets.shape[0]], Kept(1.0 / Targets.shape[0]), ScalarType.Float64, device); // [M]
        // Where more than half of the pairs coincide the median is 0, and the cost's own unit is all there is.
        var epsilon = Regularization * (median > 0 ? median : 1);
        var (potential, _, error, iterations) = transport.Solve(
            a,
            b,
            epsilon,
            Tolerance,
            MaximumIterations,
            i => run.Report(i, MaximumIterations)
        );
        scope.Attach(potential);
        if (error > Tolerance)
        {
            run.Note(
                $"The marginals were met to {Number(error)} after {iterations} iterations, not to {Number(Tolerance)}: raise "
                    + "Regularization or MaximumIterations."
            );
        }

        var worth = Array.ConvertAll(Calibrated(potential.cpu().data<double>().ToArray()), c => -c);
        picks.AddInOrder(Relevance.Descending(worth), worth);
    }

    private static bool IsFinite(Tensor values)
    {
        using var scope = NewDisposeScope();
        return values.isfinite().all().item<bool>();
    }

    private static string Number(double value) => value.ToString("G3", CultureInfo.InvariantCulture);
}
