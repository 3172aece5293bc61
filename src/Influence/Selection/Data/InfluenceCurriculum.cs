using Influence.Numerics;

namespace Influence.Selection;

/// <summary>
/// Influence-driven curriculum: epoch t is sorted by the influence that the examples have at checkpoint t, phi[i, t], in the
/// paper the cosine between the example's gradient and the mean gradient of the data over the input embeddings.
/// </summary>
/// <remarks>
/// <para>
/// The scores come from a first run: one list for each epoch to plan, by any estimator. The paper's are
/// <c>new TracIn { Similarity = Cosine, Aggregation = Mean, Checkpoints = [checkpoint] }.Score(task, train, train).ForQuery(0)</c> with the
/// task's <c>Layers</c> = the input embedding. <see cref="ShuffleWithin"/> cuts the
/// sorted epoch into segments and shuffles each, so that a batch is not all of one kind. With <see cref="Growing"/> epoch t
/// of E shows only the first t/E of its order, the last one all: a cumulative
/// curriculum as the paper has it, in steps of our own.
/// </para>
/// <para>
/// Ties go to the lowest id. Cost: a sort for each epoch. Reference: Schoenegger et al., BabyLM 2025.
/// </para>
/// </remarks>
public sealed record InfluenceCurriculum
{
    /// <summary>Which end an epoch begins with.</summary>
    /// <value>Ascending.</value>
    public Kind Direction { get; init; }

    /// <summary>Examples in a segment that is shuffled.</summary>
    /// <value>1: no shuffling. The paper's segments have 1,000 documents.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int ShuffleWithin
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1;

    /// <summary>Whether an epoch shows only the first part of its order, one more part each time.</summary>
    /// <value>False: every epoch shows all.</value>
    public bool Growing { get; init; }

    /// <summary>Of the shuffling.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Orders examples.</summary>
    /// <param name="epochs">Finite scores for each epoch, all of the same examples.</param>
    /// <returns>An order with as many epochs.</returns>
    /// <exception cref="InfluenceException">No epoch, examples that some epoch lacks, or scores that are not finite.</exception>
    public ExampleOrder Order(IReadOnlyList<ExampleScores> epochs)
    {
        using var pool = new SelectionPool(epochs);
        return ExampleOrder.Of(
            epochs.Select((_, t) => Epoch(pool, t, epochs.Count)),
            $"Curriculum, {Direction.ToString().ToLowerInvariant()}"
        );
    }

    private long[] Epoch(SelectionPool pool, int epoch, int epochs)
    {
        var highestFirst = Direction == Kind.Descending || (Direction == Kind.Alternating && epoch % 2 == 1);
        var sorted = Relevance.Sorted(Relevance.Row(pool, epoch), highestFirst);
        var shown = Growing ? (int)Math.Ceiling((double)pool.Count * (epoch + 1) / epochs) : pool.Count;
        var key = KeyedRandom.Mix(KeyedRandom.Mix((ulong)Seed) ^ (ulong)epoch);
        return [.. sorted.Take(shown).Chunk(ShuffleWithin).SelectMany(Shuffled).Select(p => pool.Ids[p])];

        IEnumerable<int> Shuffled(int[] segment) =>
            segment.Length == 1 ? segment : segment.OrderBy(p => KeyedRandom.Mix(key ^ KeyedRandom.Mix((ulong)pool.Ids[p])));
    }

    /// <summary>Which end of the scores an epoch begins with.</summary>
    public enum Kind
    {
        /// <summary>The lowest score first.</summary>
        Ascending,

        /// <summary>The highest score first.</summary>
        Descending,

        /// <summary>Ascending in the first epoch, descending in the second, and so on.</summary>
        Alternating,
    }
}
