using System.Globalization;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// A coreset by orthogonal matching pursuit: picks and weights w >= 0 with a small |sum_i w_i g_i - b|^2 + lambda |w|^2. Each pick is the
/// candidate whose gradient has the largest inner product with what is left of b, which is its utility; then all weights are solved anew.
/// </summary>
/// <remarks>
/// <para>
/// Features are gradients g. b is their sum over the pool unless <see cref="Target"/> says otherwise. Weights are what matches b: those
/// for the sum of the pool's gradients are near N in sum, and no weight is negative; a pick may end with weight 0. Ends before the
/// budget once |b - sum w g| is at most <see cref="Tolerance"/> |b|, or no gradient points along what is left: with d-dimensional
/// features and lambda = 0 after about d picks.
/// </para>
/// <para>
/// Cost: k N d multiply-adds, and up to a few solves of a k x k system for each pick, so k^4 in all: made for hundreds of picks, from a
/// large batch or one class. Wrong where few gradients match b by chance: raise lambda. Killamsetty et al., <i>GRAD-MATCH</i>, ICML 2021.
/// </para>
/// </remarks>
public sealed record GradMatch : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "GradMatch";

    /// <summary>b: the gradient to match, d numbers, for example that of a validation set.</summary>
    /// <value>Null: the sum of the features.</value>
    public IReadOnlyList<double>? Target { get; init; }

    /// <summary>lambda, in the unit of squared gradients: keeps single weights from growing.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Ridge
    {
        get;
        init => field = Check.NotNegative(value);
    }

    /// <summary>What is left of b, as a share of it, that is good enough.</summary>
    /// <value>1e-4.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Tolerance
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1e-4;

    /// <summary>The settings.</summary>
    /// <returns>The settings in words.</returns>
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"GradMatch {{ Seed = {Seed}, Target = {(Target is null ? "sum of the features" : $"{Target.Count} numbers")}, Ridge = "
                + $"{Ridge}, Tolerance = {Tolerance} }}"
        );

    /// <inheritdoc/>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        foreach (var problem in NeedsFeatures(pool))
        {
            yield return problem;
        }

        if (Target is { } target && pool.Features is { } features && (target.Count != features.shape[1] || !target.All(double.IsFinite)))
        {
            yield return $"Target is one finite number for each of the {features.shape[1]} features; found "
                + $"{target.Count}{(target.All(double.IsFinite) ? string.Empty : ", some of them not finite")}.";
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
        var features = pool.Features!; // [N, d]
        // Near 1, so that squares stay within float64; the weights are the same.
        var scale = PowerOfTwo.Of(features);
        // [d]
        var target = (Target is { } given ? tensor(given.ToArray()) : features.sum([0L], type: ScalarType.Float64).cpu()) / Kept(scale);
        var (size, total) = (target.norm().item<double>(), picks.Room);
        // At or below this share of |g_i| |r|, inner products are the rounding of those of picked gradients and their copies.
        var rounding = features.dtype == ScalarType.Float64 ? 1e-12 : 1e-5;
        var norms = FeatureBlocks.Norms(features);
        using var solver = new NonNegativeLeastSquares(target, Ridge / scale / scale);
        while (!picks.Full)
        {
            using var step = NewDisposeScope();
            var residual = solver.Residual(); // [d]
            var left = residual.norm().item<double>();
            // Near unit length, so that products stay within the features' dtype.
            var unit = PowerOfTwo.Of(left);
            var direction = (residual / Kept(unit)).to_type(features.dtype).to(features.device); // [d]
            var (best, correlation) = Best(FeatureBlocks.ToDoubles(features.mv(direction)), norms, rounding * left / unit, picks);
            if (left <= Tolerance * size || best < 0)
            {
                run.Note(
                    $"After {picks.Count:N0} picks {(size > 0 ? left / size : 0):G3} of the gradient's length is left, and no "
                        + "further pick lowers that."
                );
                break;
            }

            picks.Add(best, correlation * unit * scale);
            solver.Add(features[best].to_type(ScalarType.Float64).cpu() / Kept(scale));
            run.Report(picks.Count, Math.Max(total, picks.Count));
        }

        picks.Weigh(solver.Weights);
    }

    /// <summary>The largest inner product of those above <paramref name="rounding"/> times the gradient's length; -1 where none
    /// is.</summary>
    private static (int Position, double Correlation) Best(double[] correlations, double[] norms, double rounding, Picks picks)
    {
        var (best, highest) = (-1, double.NegativeInfinity);
        for (var position = 0; position < correlations.Length; position++)
        {
            if (correlations[position] > highest && correlations[position] > rounding * norms[position] && picks.Fits(position))
            {
                (best, highest) = (position, correlations[position]);
            }
        }

        return (best, highest);
    }
}
