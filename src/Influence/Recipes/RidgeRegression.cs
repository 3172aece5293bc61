using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// Ridge regression, <c>w = (X'X + penalty I)^-1 X'y</c>, with the penalty that predicts a part of the data best that was kept back
/// (<see cref="Validation"/>); then fitted on all of it.
/// </summary>
/// <remarks>
/// Penalties are multiples of the mean eigenvalue of X'X (the trace over d). Cost: two eigendecompositions of order min(n, d), whatever the
/// number of penalties. A penalty at the end of the range is said in the description.
/// </remarks>
public sealed record RidgeRegression : IInfluenceRegression
{
    /// <summary>The penalties that are tried, as multiples of the mean eigenvalue; copied.</summary>
    /// <value>1e-4 to 1e4, two a decade.</value>
    /// <exception cref="InfluenceException">None, or one that is not a positive number.</exception>
    public IReadOnlyList<double> Penalties
    {
        get;
        init =>
            field =
                value is { Count: > 0 } && value.All(p => p > 0 && double.IsFinite(p))
                    ? [.. value.Order()]
                    : throw new InfluenceException(
                        "Penalties are positive numbers, at least one; found "
                            + $"{(value is null ? "null" : InfluenceException.List([.. value]))}."
                    );
    } = [.. Enumerable.Range(-8, 17).Select(i => Math.Pow(10, i / 2.0))];

    /// <summary>The share of the data that penalties are compared on.</summary>
    /// <value>0.2.</value>
    /// <exception cref="InfluenceException">Not between 0 and 1.</exception>
    public double Validation
    {
        get;
        init => field = HeldOutPart.Share(value, nameof(Validation));
    } = 0.2;

    /// <inheritdoc/>
    public string Name => "ridge regression";

    /// <inheritdoc/>
    public IInfluencePredictor Fit(Tensor features, Tensor targets, long seed, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(targets);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var penalty = Penalties[0];
        if (Penalties.Count > 1)
        {
            var (fit, validation) = HeldOutPart.Split((int)targets.shape[0], Validation, seed, "ridge validation");
            var (x, y) = (features.index_select(0, tensor(fit)), targets.index_select(0, tensor(fit))); // [m, d], [m]
            var (heldX, heldY) = (features.index_select(0, tensor(validation)), targets.index_select(0, tensor(validation)));
            var trial = new Solver(x, y);
            penalty = Penalties.MinBy(p => (heldX.mv(trial.Weights(p)) - heldY).Squared().mean().item<double>());
            cancellationToken.ThrowIfCancellationRequested();
        }

        var weights = new Solver(features, targets).Weights(penalty).DetachFromDisposeScope(); // [d]
        var atEnd =
            Penalties.Count > 1 && (penalty == Penalties[0] || penalty == Penalties[^1]) ? ", at the end of the range" : string.Empty;
        return new Linear(weights, string.Create(CultureInfo.InvariantCulture, $"penalty {penalty:G3} of the mean eigenvalue{atEnd}"));
    }

    /// <summary>One eigendecomposition, of the smaller of X'X and XX', serves every penalty. Lives in the current dispose scope.</summary>
    private sealed class Solver
    {
        private readonly Tensor _left;
        private readonly Tensor _projected;
        private readonly Tensor _values;
        private readonly double _mean;

        public Solver(Tensor x, Tensor y)
        {
            var dual = x.shape[0] < x.shape[1];
            var gram = dual ? x.mm(x.t()) : x.t().mm(x); // [r, r]
            var (values, vectors) = linalg.eigh((gram + gram.t()) * Kept(0.5)); // [r], [r, r]
            _values = values.clamp_min(Kept(0));

            // Rows of zeros, as a part of the data may have, give weights of zero under any penalty.
            _mean = _values.sum().item<double>() is var trace && trace > 0 ? trace / x.shape[1] : 1;
            _projected = vectors.t().mv(dual ? y : x.t().mv(y)); // [r]
            _left = dual ? x.t().mm(vectors) : vectors; // [d, r]
        }

        public Tensor Weights(double penalty) => _left.mv(_projected / (_values + Kept(penalty * _mean))); // [d]
    }

    private sealed class Linear(Tensor weights, string description) : IInfluencePredictor
    {
        public string Description => description;

        public Tensor Predict(Tensor features) => features.mv(weights); // [n]

        public void Dispose() => weights.Dispose();
    }
}
