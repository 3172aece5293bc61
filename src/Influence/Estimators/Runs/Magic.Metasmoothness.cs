using Influence.Gradients;
using Influence.Numerics;

namespace Influence.Estimators;

public sealed partial record Magic
{
    /// <summary>
    /// Whether the end of the run moves evenly with the examples' weights, which is what a derivative by them takes for granted. The run is
    /// done with weights 1, 1 + h v and 1 + 2 h v, v standard normal, one number an example:
    /// <code>sum over j of  d_j / ||d||_1  sign(w_h - w_0)_j  sign(w_2h - w_h)_j,   d = |w_2h - w_0|</code>
    /// </summary>
    /// <remarks>
    /// Near 1 the scores of this run can be trusted; near 0, or below, its weights turn back within that distance, and a derivative tells
    /// nothing of a removal. Larger batches, clipping, and a larger epsilon in Adam help. Cost: three runs, no queries; memory: three
    /// states. Reference: Engstrom, Ilyas and others, "Optimizing ML Training with Metagradient Descent", 2025, definition 2.
    /// </remarks>
    /// <param name="task">The model, with the weights from before training, and its loss. It is left as it was found.</param>
    /// <param name="train">The training examples of the run, and others, which nothing visits.</param>
    /// <param name="distance">h, above 0.</param>
    /// <param name="seed">Of v, which follows from it and the example's id alone.</param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Checked after each step.</param>
    /// <returns>Between -1 and 1.</returns>
    /// <exception cref="InfluenceException">Bad input, or a run that ends in the same weights whatever its examples weigh.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public double Metasmoothness(
        InfluenceTask task,
        Examples train,
        double distance = 0.1,
        long seed = 0,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        Check.Positive(distance, nameof(distance));
        ExampleChecks.Run(task, (train, "training examples"));
        using var reporter = new ProgressReporter(progress, "training", 1, 3L * Batches.Sum(b => b.Count), cancellationToken);
        double[] End(double h) => FinalWeights(task, train, id => 1 + (h * Direction(seed, id)), reporter);
        var (start, middle, end) = (End(0), End(distance), End(2 * distance));
        if (start.AsSpan().SequenceEqual(end))
        {
            throw new InfluenceException(
                "The run ends in the same weights whatever its examples weigh, so that nothing can be said of its smoothness. Are all "
                    + "LearningRates 0, or distance too small for the weights' type? "
                    + "Write the run's own rates, and distance: 0.1."
            );
        }

        return SignAgreement(start, middle, end);
    }

    /// <summary>The share of the way, coordinate by coordinate, on which both halves go the same direction, less the share on which they do
    /// not.</summary>
    internal static double SignAgreement(double[] start, double[] middle, double[] end)
    {
        var (agreement, way) = (0.0, 0.0);
        for (var j = 0; j < start.Length; j++)
        {
            var d = Math.Abs(end[j] - start[j]);
            agreement += d * Math.Sign(middle[j] - start[j]) * Math.Sign(end[j] - middle[j]);
            way += d;
        }

        return agreement / way;
    }

    private static double Direction(long seed, long id)
    {
        // Box and Muller.
        var random = new KeyedRandom(seed, "metasmoothness", id);
        return Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
    }
}
