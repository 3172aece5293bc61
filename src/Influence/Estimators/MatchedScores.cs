using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>What scores of matched pairs have in common, whatever the estimator.</summary>
internal static class MatchedScores
{
    /// <summary>What the scores say, in the metadata.</summary>
    public const string Sign = "high = training on the example lowers the measurement of its own partner";

    /// <summary>Refuses sets of unlike length.</summary>
    public static void Check(InfluenceTask task, Examples train, Examples queries)
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        if (train.Count != queries.Count)
        {
            throw new InfluenceException(
                $"Matched scores pair the training example and the query at each place, so there are as many of both; found {train.Count} "
                    + $"and {queries.Count}. For all pairs write Score."
            );
        }
    }

    /// <summary>Adds the products of one session to the totals.</summary>
    public static void Add(double[] totals, GradientProducts products, Examples train, Examples queries, ProgressReporter reporter) =>
        products.Matched(
            (first, values) =>
            {
                var row = values.to_type(ScalarType.Float64).data<double>().ToArray();
                for (var i = 0; i < row.Length; i++)
                {
                    totals[first + i] += row[i];
                }
            },
            train,
            queries,
            reporter
        );

    /// <summary>The scores with what they mean.</summary>
    public static ExampleScores Of(Examples train, double[] totals, ScoreMetadata metadata) =>
        new("Matched scores", train.Ids, totals, metadata with { Estimator = $"{metadata.Estimator}, matched pairs", Sign = Sign });
}
