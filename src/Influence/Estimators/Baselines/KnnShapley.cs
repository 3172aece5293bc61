using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// The exact Shapley value of each training example for the K nearest neighbours' vote on a query: with the examples sorted by distance,
/// <c>s_N = 1[y_N = y_q] min(K, N) / (K N)</c> and <c>s_i = s_(i+1) + (1[y_i = y_q] - 1[y_(i+1) = y_q]) / K min(K, i) / i</c>.
/// </summary>
/// <remarks>
/// Jia et al., VLDB 2019 ("Efficient task-specific data valuation for nearest neighbor algorithms"). The game is worth the share of the K
/// nearest that have the query's label, missing neighbours counting as wrong; a query's values sum to what all training examples are worth.
/// No model is trained: a baseline for scores of influence. Distances are Euclidean, in float64; equal ones by position. Cost: one forward
/// pass an example, <c>O(Q N (d + log N))</c>, and memory of all embeddings in float64. Scores are float64.
/// </remarks>
/// <example>
/// <code>
/// using var scores = new KnnShapley(b => encoder.call(b["x"]), b => b["y"]) { K = 5 }.Score(task, train, queries);
/// </code>
/// </example>
public sealed record KnnShapley : IPairEstimator
{
    private const long NumbersAtOnce = 1 << 22;

    private readonly Func<ExampleBatch, Tensor> _embed;
    private readonly Func<ExampleBatch, Tensor> _labels;

    /// <summary>Takes embedding and label.</summary>
    /// <param name="embed">From a batch to <c>[B, d]</c>, floating-point numbers; the same d for queries.</param>
    /// <param name="labels">From a batch to <c>[B]</c>, whole numbers.</param>
    public KnnShapley(Func<ExampleBatch, Tensor> embed, Func<ExampleBatch, Tensor> labels)
    {
        ArgumentNullException.ThrowIfNull(embed);
        ArgumentNullException.ThrowIfNull(labels);
        (_embed, _labels) = (embed, labels);
    }

    /// <summary>How many neighbours vote; it may be more than there are.</summary>
    /// <value>5.</value>
    public int K
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 5;

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">Bad input, or embeddings or labels of another shape or that are not finite.</exception>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        using var reader = new FeatureReader(sink, task, train, queries, "nearest neighbours", progress, cancellationToken);
        using var scope = NewDisposeScope();
        var (own, labels) = Embedded(reader, train);
        var (wanted, queryLabels) = Embedded(reader, queries);
        if (own.shape[1] != wanted.shape[1])
        {
            throw new InfluenceException(
                $"Embeddings of queries are [Q, {wanted.shape[1]}], those of training examples [N, {own.shape[1]}]; one width is "
                    + "expected."
            );
        }

        for (var q = 0; q < queryLabels.Length; q++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            var distances = Distances(own, wanted[q]);
            var order = Enumerable.Range(0, labels.Length).ToArray();
            Array.Sort(order, (a, b) => distances[a].CompareTo(distances[b]) is not 0 and var nearer ? nearer : a.CompareTo(b));
            bool[] matches = [.. order.Select(i => labels[i] == queryLabels[q])];
            var sorted = Values(matches, K);
            var values = new double[sorted.Length];
            for (var i = 0; i < order.Length; i++)
            {
                values[order[i]] = sorted[i];
            }

            sink.Add(q, 0, tensor(values).unsqueeze(0));
        }

        return new ScoreMetadata
        {
            Estimator = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"KNN-Shapley (K = {K})"),
            Sign = "positive = the example helps its neighbours' vote for the query's label",
            Unit = "share of the K nearest with the query's label",
            Layers = "those of the embedding",
        };
    }

    /// <summary>The values of examples sorted by distance, nearest first.</summary>
    /// <param name="matches">Whether each has the query's label.</param>
    /// <param name="k">The neighbours that vote.</param>
    internal static double[] Values(bool[] matches, int k)
    {
        var count = matches.Length;
        var values = new double[count];
        values[^1] = matches[^1] ? (double)Math.Min(k, count) / k / count : 0;
        for (var i = count - 1; i >= 1; i--)
        {
            var step = (matches[i - 1] ? 1 : 0) - (matches[i] ? 1 : 0);
            values[i - 1] = values[i] + ((double)step / k * Math.Min(k, i) / i);
        }

        return values;
    }

    private (Tensor Rows, long[] Labels) Embedded(FeatureReader reader, Examples examples)
    {
        var labels = new List<long>(examples.Count);
        var rows = reader.All(
            examples,
            batch =>
            {
                labels.AddRange(FeatureReader.Labels(_labels, batch, "Labels"));
                return _embed(batch);
            },
            "Embeddings"
        );
        return (rows, [.. labels]);
    }

    /// <summary>Squared distances by differences: equal examples then are equally far, which a product of matrices does not
    /// promise.</summary>
    private static double[] Distances(Tensor rows, Tensor query)
    {
        var distances = new double[rows.shape[0]];
        var atOnce = Math.Max(1, NumbersAtOnce / Math.Max(1, rows.shape[1]));
        for (long first = 0; first < distances.Length; first += atOnce)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(atOnce, distances.Length - first);
            (rows.narrow(0, first, count) - query).Squared().sum(1).data<double>().ToArray().CopyTo(distances, first);
        }

        return distances;
    }
}
