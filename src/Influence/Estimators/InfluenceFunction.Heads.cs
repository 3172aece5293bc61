using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

public sealed partial record InfluenceFunction
{
    /// <summary>
    /// Scores of one attention layer head by head: each head's rows of the query, key and value projections, with their biases,
    /// and its columns of the output projection. The heads and the output's bias sum to the layer's score.
    /// </summary>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="heads">The layer's projections and the number of its heads.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One matrix a head, and one for the output projection's bias at the end; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, a normalisation, unknown weights, or sizes that do not divide into
    /// heads.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public LayerScores ScoreHeads(
        InfluenceTask task,
        Examples train,
        Examples queries,
        Projections heads,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(heads);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        RefuseNormalization("per head");
        RefuseAggregation("per head");
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "scoring heads", 1, train.Count, cancellationToken);
        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
        using var metric = new HeadMetric(inverse, heads, session);
        var totals = Enumerable.Range(0, heads.Heads + 1).Select(_ => zeros([queries.Count, train.Count], session.Dtype, CPU)).ToArray();
        new GradientProducts(session, MemoryBudget, metric, Gradients.Normalization.None).AddPairs(
            totals,
            train,
            queries,
            1,
            reporter,
            metric.HeadOf
        );
        var metadata = Metadata(task, session, inverse);
        return new LayerScores([
            .. totals.Select(
                (values, h) =>
                {
                    var name = h < heads.Heads ? $"head {h}" : "output bias";
                    return (
                        name,
                        new InfluenceScores(
                            values,
                            queries.Ids,
                            train.Ids,
                            metadata with
                            {
                                Layers = $"{name} of {heads.Query} and its fellows",
                            }
                        )
                    );
                }
            ),
        ]);
    }
}
