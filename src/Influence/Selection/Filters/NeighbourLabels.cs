using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// A check of labels without a trained classifier: of each example's K nearest others by cosine of their features, the share with another
/// label. High = suspicious.
/// </summary>
/// <remarks>
/// The baseline that gradients are to beat; what it can see is in the features, an encoder's for instance. Exact: N^2 d multiplications, 64
/// MiB of similarities at a time. A class with K members or fewer is suspicious as a whole. Reference: Zhu et al., "Detecting Corrupted
/// Labels Without Training a Model to Predict", ICML 2022, its local vote.
/// </remarks>
/// <example>
/// <code>
/// var suspicious = new NeighbourLabels { K = 10 }.Score(embeddings, labels, train.Ids);
/// </code>
/// </example>
public sealed record NeighbourLabels
{
    /// <summary>How many neighbours vote.</summary>
    /// <value>10.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int K
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10;

    /// <summary>Scores every example.</summary>
    /// <param name="features"><c>[N, d]</c>, float32 or float64; stays the caller's.</param>
    /// <param name="labels">N labels.</param>
    /// <param name="ids">N ids; unless given, 0, 1, 2, ...</param>
    /// <returns>The share of the neighbours with another label, 0 to 1.</returns>
    /// <exception cref="InfluenceException">Shapes that do not fit, features that are not finite, ids that repeat, or no more than K
    /// examples.</exception>
    public ExampleScores Score(Tensor features, IReadOnlyList<long> labels, IReadOnlyList<long>? ids = null)
    {
        ArgumentNullException.ThrowIfNull(features);
        ArgumentNullException.ThrowIfNull(labels);
        ids ??= [.. Enumerable.Range(0, labels.Count).Select(i => (long)i)];
        FeatureRows.Check(features, labels.Count);
        if (labels.Count <= K)
        {
            throw new InfluenceException($"{K} neighbours are asked for, and there are {labels.Count} examples: write a K below that.");
        }

        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        if (!features.isfinite().all().item<bool>())
        {
            throw new InfluenceException("Features are finite; found some that are not.");
        }

        var neighbours = new CosineNeighbours(features, K, (_, _) => { });
        var scores = new double[labels.Count];
        for (var i = 0; i < scores.Length; i++)
        {
            foreach (var other in neighbours.Of(i))
            {
                scores[i] += labels[(int)other] == labels[i] ? 0 : 1.0 / K;
            }
        }

        return ExampleScores.Of(ids, scores, $"Neighbours with another label (K = {K})");
    }
}
