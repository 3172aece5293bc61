using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// The cosine of two examples' embeddings, <c>e_i . e_q / (|e_i| |e_q|)</c>: what a score of influence must beat. It knows nothing of the
/// loss, so that nothing is an opponent by it: a high score means alike.
/// </summary>
/// <remarks>
/// Embeddings are what the delegate says: for a language model usually the mean over valid positions of a hidden state. Cost: one forward
/// pass an example and <c>O(Q N d)</c>; memory of the queries' embeddings and one block of scores. Scores are float64.
/// </remarks>
/// <example>
/// <code>
/// using var scores = new EmbeddingSimilarity(b => encoder.call(b["x"])).Score(task, train, queries);
/// </code>
/// </example>
public sealed record EmbeddingSimilarity : IPairEstimator
{
    private readonly Func<ExampleBatch, Tensor> _embed;

    /// <summary>Takes the embedding.</summary>
    /// <param name="embed">From a batch to <c>[B, d]</c>, floating-point numbers; the same d for queries.</param>
    public EmbeddingSimilarity(Func<ExampleBatch, Tensor> embed)
    {
        ArgumentNullException.ThrowIfNull(embed);
        _embed = embed;
    }

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">
    /// Bad input, or embeddings of another shape, that are not finite, or that are zero and so without a direction.
    /// </exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        using var reader = new FeatureReader(sink, task, train, queries, "embeddings", progress, cancellationToken);
        using var scope = NewDisposeScope();
        var wanted = reader.All(queries, Unit, "Embeddings"); // [Q, d]
        reader.Read(
            train,
            (first, batch) =>
            {
                var own = FeatureReader.Rows(Unit, batch, "Embeddings"); // [b, d]
                if (own.shape[1] != wanted.shape[1])
                {
                    throw new InfluenceException(
                        $"Embeddings of queries are [Q, {wanted.shape[1]}], those of training examples [B, {own.shape[1]}]; one width is "
                            + "expected."
                    );
                }

                sink.Add(0, first, wanted.mm(own.t()));
            }
        );
        return new ScoreMetadata
        {
            Estimator = "embedding similarity",
            Sign = "high = alike; it says nothing of help or harm",
            Unit = "cosine",
            Layers = "those of the embedding",
        };
    }

    private Tensor Unit(ExampleBatch batch)
    {
        var rows = FeatureReader.Rows(_embed, batch, "Embeddings");
        var none = rows.eq(Kept(0)).all(1);
        return none.any().item<bool>()
            ? throw FeatureReader.Named(batch, none, "Embeddings are zero, and so without a direction,")
            : FeatureReader.Normalized(rows);
    }
}
