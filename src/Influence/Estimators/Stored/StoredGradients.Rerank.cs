using System.Globalization;

namespace Influence.Estimators;

public sealed partial record StoredGradients
{
    /// <summary>
    /// The strongest examples by an exact estimator, which scores only those that the store puts forward: of each query, the candidates
    /// highest and the candidates lowest by the store are scored anew, and ranked by what the exact estimator says.
    /// <code>C(q) = the k' highest and k' lowest by the store,   k' = candidates
    /// proponents(q), opponents(q) = the k highest, the k lowest of exact(z, q) over z in C(q)</code>
    /// With k' = N it is <c>exact.Strongest(k, task, train, queries)</c>; with fewer, an example that the store leaves out is missing, and
    /// the scores and the order of the others are right.
    /// </summary>
    /// <remarks>
    /// <para>
    /// The exact estimator is called once, with the candidates of all queries as its training examples: it is one whose score of a pair
    /// does not depend on the other training examples, as <see cref="TracIn"/> or an <see cref="InfluenceFunction"/> that was fitted
    /// before. What other queries put forward does not count for a query.
    /// </para>
    /// <para>
    /// Cost: the store's scores, then the exact estimator's for at most min(N, 2 k' Q) training examples; memory 2 k' Q numbers beside one
    /// block of scores. Reference: Guo et al., "FastIF: Scalable Influence Functions for Efficient Model Interpretation and Debugging",
    /// 2021, for scoring candidates only.
    /// </para>
    /// </remarks>
    /// <param name="k">How many of each kind, 1 to candidates.</param>
    /// <param name="candidates">k', how many of each kind the store puts forward, k to N.</param>
    /// <param name="exact">What scores the candidates.</param>
    /// <param name="task">The model, with the weights that the store was written with. It is left as it was found.</param>
    /// <param name="train">N training examples, the store's by their ids, all or some, in its order.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each shard, then by the exact estimator.</param>
    /// <param name="cancellationToken">Checked between batches and shards.</param>
    /// <returns>The rankings, in plain memory, with the exact estimator's scores and metadata; a note says that only candidates were
    /// scored.</returns>
    /// <exception cref="InfluenceException">
    /// Bad input, other weights or layers than the store's, a damaged shard, which is named, or an exact estimator that scores queries
    /// together.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public StrongestExamples Rerank(
        int k,
        int candidates,
        IPairEstimator exact,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(exact);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        if (k < 1 || candidates < k || candidates > train.Count)
        {
            throw new InfluenceException(
                $"1 <= k <= candidates <= {train.Count}, the number of training examples, is expected; found k = {k} and candidates = "
                    + $"{candidates}."
            );
        }

        var first = this.Strongest(candidates, task, train, queries, progress, cancellationToken);
        List<HashSet<long>> chosen =
        [
            .. Enumerable
                .Range(0, first.QueryIds.Count)
                .Select(q => first.Proponents(q).Concat(first.Opponents(q)).Select(example => example.Id).ToHashSet()),
        ];
        var scored = train.Only(chosen.SelectMany(ids => ids));
        using var sink = new CandidateSink(k, chosen, train.Count);
        var metadata = exact.ScoreInto(sink, task, scored, queries, progress, cancellationToken);
        var note = string.Create(
            CultureInfo.InvariantCulture,
            $"Of each query only the {candidates} highest and the {candidates} lowest of {train.Count} training examples by {Name} were "
                + $"scored."
        );
        return sink.Finish(metadata with { Notes = metadata.Notes.Length > 0 ? $"{metadata.Notes} {note}" : note });
    }
}
