using Influence.Evaluation;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Small problems whose truth is known.</summary>
internal static class EvaluationCases
{
    public static Bootstrap Quick { get; } = new() { Resamples = 200, Seed = 5 };

    public static long[] Ids(int count, long first = 0) => [.. Enumerable.Range(0, count).Select(i => first + i)];

    public static InfluenceScores Scores(
        double[,] values,
        IReadOnlyList<long>? queryIds = null,
        IReadOnlyList<long>? trainIds = null,
        double? leaveOneOutFactor = null
    ) =>
        new(
            tensor(values),
            queryIds ?? Ids(values.GetLength(0)),
            trainIds ?? Ids(values.GetLength(1)),
            new ScoreMetadata
            {
                Estimator = "test",
                Unit = "u",
                LeaveOneOutFactor = leaveOneOutFactor,
            }
        );

    /// <summary>Numbers without ties, from a seed.</summary>
    public static double[,] Random(int rows, int columns, int seed)
    {
        var random = new Random(seed);
        var values = new double[rows, columns];
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++)
            {
                values[r, c] = random.NextDouble() - 0.5;
            }
        }

        return values;
    }

    /// <summary>
    /// A model that is linear in its data: each query's loss is 3 less the sum of its weights over the subset, plus noise that
    /// depends on the run.
    /// </summary>
    public static Retraining.Result Additive(double[,] weights, Subsets subsets, int seeds = 1, double noise = 0, int noiseSeed = 1)
    {
        var random = new Random(noiseSeed);
        var losses = new double[subsets.Count * seeds, weights.GetLength(0)];
        for (var run = 0; run < losses.GetLength(0); run++)
        {
            for (var q = 0; q < weights.GetLength(0); q++)
            {
                var sum = Enumerable.Range(0, weights.GetLength(1)).Where(subsets[run / seeds].Contains).Sum(i => weights[q, i]);
                losses[run, q] = 3 - sum + (noise * (random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5));
            }
        }

        return Retraining.Result.Of(subsets, Ids(weights.GetLength(0)), losses, [.. Enumerable.Range(0, seeds).Select(s => (long)s)]);
    }
}
