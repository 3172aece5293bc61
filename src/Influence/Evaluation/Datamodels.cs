using System.Diagnostics;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// Datamodels: a linear model of each query's reward (minus its mean loss) in which training examples were there,
/// <c>-f_q(S) = b + sum over i in S of w_i</c>. Its weights are scores, from retraining alone, without a gradient: an
/// estimator where one can afford the runs, and a truth to hold cheaper scores against.
/// </summary>
/// <remarks>
/// Ilyas et al., 2022, section 2 and appendix B. Masks and rewards are centred, masks are not scaled. The penalty is chosen for
/// each query by the error on subsets held back, as a share of the largest that makes sense; then all subsets are fitted. With
/// fewer subsets than examples the weights are rough: the paper uses hundreds of thousands of runs.
/// Memory: 8 M N bytes. Cost of the lasso: a few M N operations a penalty and query.
/// </remarks>
public sealed partial record Datamodels
{
    /// <summary>How the weights are fitted.</summary>
    /// <value><see cref="Datamodels.Kind.Lasso"/>.</value>
    public Kind Regression { get; init; }

    /// <summary>
    /// Penalties to choose from, as shares: for the lasso of the smallest penalty that leaves no weight,
    /// <c>max_j |m_j' (y - mean)| / M</c>; for ridge of the mean eigenvalue of the masks' Gram matrix over M. One alone is taken
    /// as it is.
    /// </summary>
    /// <value>Null: 40 from 1 down to 0.001 for the lasso, 25 from 100 down to 0.0001 for ridge.</value>
    public IReadOnlyList<double>? Penalties
    {
        get;
        init =>
            field =
                value is null || (value.Count > 0 && value.All(p => p > 0 && double.IsFinite(p)))
                    ? value is null
                        ? null
                        : [.. value.OrderDescending()]
                    : throw new InfluenceException("Penalties are above 0: Penalties = [1, 0.1, 0.01].");
    }

    /// <summary>The share of the subsets that is held back while the penalty is chosen.</summary>
    /// <value>0.2.</value>
    public double ValidationShare
    {
        get;
        init => field = Check.InsideUnit(value);
    } = 0.2;

    /// <summary>Of the choice of subsets to hold back.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Fits a datamodel for each query.</summary>
    /// <param name="runs">Runs on at least ten subsets.</param>
    /// <param name="progress">Told after each query (lasso).</param>
    /// <param name="cancellationToken">Checked before each query.</param>
    /// <returns>The weights as scores; the caller disposes them.</returns>
    /// <exception cref="InfluenceException">Too few subsets, or no query that was measured throughout.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Result Fit(Retraining.Result runs, IProgress<InfluenceProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(runs);
        var m = runs.Subsets.Count;
        if (m < 10)
        {
            throw new InfluenceException($"A datamodel needs runs on at least ten subsets, better hundreds; found {m}.");
        }

        var means = runs.Means();
        int[] kept = [.. Enumerable.Range(0, runs.QueryIds.Count).Where(q => means.All(row => double.IsFinite(row[q])))];
        if (kept.Length == 0)
        {
            throw new InfluenceException("No query was measured by all runs with a finite number.");
        }

        double[][] rewards = [.. kept.Select(q => means.Select(row => -row[q]).ToArray())];
        var shares = Penalties ?? (Regression == Kind.Lasso ? LogSpaced(1, 1e-3, 40) : LogSpaced(100, 1e-4, 25));
        var clock = Stopwatch.StartNew();
        var order = new KeyedRandom(Seed, "validation", 0).Order(m);
        var heldBack = shares.Count == 1 ? [] : order.Take(Math.Max(2, (int)Math.Round(ValidationShare * m))).Order().ToArray();
        int[] fitted = [.. Enumerable.Range(0, m).Except(heldBack)];
        var (weights, intercepts, chosen, validation) = Regression == Kind.Lasso ? ByLasso() : ByRidge();
        double[] correlations =
        [
            .. Enumerable
                .Range(0, kept.Length)
                .Select(q =>
                    heldBack.Length < 3
                        ? double.NaN
                        : new PairedColumn(validation[q], [.. heldBack.Select(j => rewards[q][j])]).Of(Agreement.Spearman)
                ),
        ];
        return new Result(
            new InfluenceScores(
                Matrix(weights),
                [.. kept.Select(q => runs.QueryIds[q])],
                runs.Subsets.TrainIds,
                new ScoreMetadata
                {
                    Estimator = $"Datamodels ({Regression.ToString().ToLowerInvariant()}, {m} subsets, {runs.Count} runs)",
                    Checkpoints = "retrained models",
                    Unit = "fall of the query's loss when the example joins the training data",
                    LeaveOneOutFactor = 1,
                }
            ),
            intercepts,
            chosen,
            Bootstrap.Mean("queries", [.. correlations.Where(c => !double.IsNaN(c))]),
            [.. Enumerable.Range(0, runs.QueryIds.Count).Except(kept).Select(q => (runs.QueryIds[q], "a run's measurement is not finite"))]
        );

        (double[][], double[], double[], double[][]) ByLasso()
        {
            var (part, all) = (new MaskColumns(runs.Subsets, fitted), new MaskColumns(runs.Subsets, [.. Enumerable.Range(0, m)]));
            var (w, b, share, predicted) = (
                new double[kept.Length][],
                new double[kept.Length],
                new double[kept.Length],
                new double[kept.Length][]
            );
            for (var q = 0; q < kept.Length; q++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                (share[q], predicted[q]) = (shares[0], []);
                if (heldBack.Length > 0)
                {
                    var best = double.PositiveInfinity;
                    foreach (var fit in LassoPath.Fit(part, [.. fitted.Select(j => rewards[q][j])], shares))
                    {
                        double[] guess = [.. heldBack.Select(j => fit.Predict(runs.Subsets[j]))];
                        var error = guess.Zip(heldBack, (g, j) => (g - rewards[q][j]) * (g - rewards[q][j])).Sum();
                        if (error < best)
                        {
                            (best, share[q], predicted[q]) = (error, fit.Share, guess);
                        }
                    }
                }

                var final = LassoPath.Fit(all, rewards[q], [.. shares.Where(s => s >= share[q])]).Last();
                (w[q], b[q]) = (final.Weights, final.Intercept);
                progress?.Report(new InfluenceProgress("fitting datamodels", q + 1, kept.Length, clock.Elapsed));
            }

            return (w, b, share, predicted);
        }

        (double[][], double[], double[], double[][]) ByRidge()
        {
            var share = kept.Select(_ => shares[0]).ToArray();
            var predicted = kept.Select(_ => Array.Empty<double>()).ToArray();
            if (heldBack.Length > 0)
            {
                var part = new RidgeFit(runs.Subsets, fitted, rewards);
                var best = kept.Select(_ => double.PositiveInfinity).ToArray();
                foreach (var candidate in shares)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    var guesses = part.Predict(runs.Subsets, heldBack, candidate);
                    for (var q = 0; q < kept.Length; q++)
                    {
                        var error = guesses[q].Zip(heldBack, (g, j) => (g - rewards[q][j]) * (g - rewards[q][j])).Sum();
                        if (error < best[q])
                        {
                            (best[q], share[q], predicted[q]) = (error, candidate, guesses[q]);
                        }
                    }
                }
            }

            var (w, b) = new RidgeFit(runs.Subsets, [.. Enumerable.Range(0, m)], rewards).Weights(share);
            return (w, b, share, predicted);
        }
    }

    private static Tensor Matrix(double[][] rows)
    {
        using var scope = NewDisposeScope();
        return tensor(rows.SelectMany(row => row).ToArray()).reshape(rows.Length, -1).DetachFromDisposeScope();
    }

    private static double[] LogSpaced(double from, double to, int count) =>
        [.. Enumerable.Range(0, count).Select(k => from * Math.Pow(to / from, k / (count - 1.0)))];

    /// <summary>How a datamodel's weights are fitted.</summary>
    public enum Kind
    {
        /// <summary>
        /// <c>min 1/(2M) ||y - b - m w||^2 + penalty ||w||_1</c> by coordinate descent along a path of falling penalties: few
        /// examples get a weight. The paper's choice.
        /// </summary>
        Lasso,

        /// <summary><c>min 1/(2M) ||y - b - m w||^2 + penalty/2 ||w||^2</c>, in closed form for all queries at once.</summary>
        Ridge,
    }
}
