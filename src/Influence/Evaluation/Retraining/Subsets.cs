using System.Collections;
using System.Globalization;
using Influence.Display;
using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>Subsets of the training examples, to retrain on. Immutable; plain memory, one bit an example and subset.</summary>
/// <remarks>Random subsets follow from the seed and the ids alone: the order in which ids are given changes nothing.</remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class Subsets : IReadOnlyList<TrainingSubset>, IDisplay
{
    /// <summary>The name of the subset that leaves nothing out.</summary>
    internal const string AllName = "all";

    private readonly TrainingSubset[] _subsets;

    internal Subsets(IReadOnlyList<long> trainIds, IEnumerable<(string Name, byte[] Bits)> subsets)
    {
        TrainIds = trainIds;
        _subsets = [.. subsets.Select(s => new TrainingSubset(s.Name, trainIds, s.Bits))];
    }

    /// <summary>Every training example's id, N.</summary>
    public IReadOnlyList<long> TrainIds { get; }

    /// <inheritdoc/>
    public int Count => _subsets.Length;

    /// <inheritdoc/>
    public TrainingSubset this[int index] => _subsets[index];

    /// <summary>Random halves: the subsets of the linear datamodeling score.</summary>
    /// <param name="trainIds">Every training example's id.</param>
    /// <param name="count">How many subsets; 50 to 100 are usual.</param>
    /// <param name="seed">Of the draws.</param>
    /// <returns>Subsets of floor(N/2) examples each, named <c>half 0</c>, <c>half 1</c>, ...</returns>
    /// <exception cref="InfluenceException">Ids that repeat, fewer than two, or no subset.</exception>
    public static Subsets Half(IReadOnlyList<long> trainIds, int count, long seed) => Drawn(trainIds, 0.5, count, seed, "half");

    /// <summary>Random subsets of a size.</summary>
    /// <param name="trainIds">Every training example's id.</param>
    /// <param name="share">The share of the examples in each, between 0 and 1. Scores for different shares do not compare.</param>
    /// <param name="count">How many subsets.</param>
    /// <param name="seed">Of the draws.</param>
    /// <returns>Subsets of floor(share N) examples each, drawn without replacement.</returns>
    /// <exception cref="InfluenceException">Ids that repeat, a share that leaves none in or none out, or no subset.</exception>
    public static Subsets Random(IReadOnlyList<long> trainIds, double share, int count, long seed) =>
        Drawn(trainIds, share, count, seed, string.Create(CultureInfo.InvariantCulture, $"{share:0.##%}"));

    /// <summary>All examples, and then all but one, for each one (or for the chosen ones).</summary>
    /// <param name="trainIds">Every training example's id.</param>
    /// <param name="removed">The examples to leave out in turn; unless given, every one.</param>
    /// <returns>The subsets, <c>all</c> first.</returns>
    /// <exception cref="InfluenceException">Ids that repeat, or an id to leave out that is none of them.</exception>
    public static Subsets LeaveOneOut(IReadOnlyList<long> trainIds, IReadOnlyList<long>? removed = null)
    {
        ArgumentNullException.ThrowIfNull(trainIds);
        return Without(
            trainIds,
            (removed ?? trainIds).Select(id => ($"without {id.ToString(CultureInfo.InvariantCulture)}", (IEnumerable<long>)[id]))
        );
    }

    /// <summary>All examples, and then all but a group's, for each group.</summary>
    /// <param name="trainIds">Every training example's id.</param>
    /// <param name="groups">The groups to leave out in turn.</param>
    /// <returns>The subsets, <c>all</c> first.</returns>
    /// <exception cref="InfluenceException">Ids that repeat, or a member that is none of them.</exception>
    public static Subsets Without(IReadOnlyList<long> trainIds, ExampleGroups groups)
    {
        ArgumentNullException.ThrowIfNull(groups);
        return Without(trainIds, groups.Names.Select(name => ($"without {name}", (IEnumerable<long>)groups[name])));
    }

    /// <summary>
    /// The training examples cut at random into pieces that share none, and for each piece all examples but that piece: what a bank of
    /// removals is made of.
    /// </summary>
    /// <remarks>
    /// Every example is left out exactly once, so that the changes of the loss of all subsets are of different examples. <see cref="Lds"/>
    /// reads them as any subsets: the sum of the scores of what was trained on is that of all examples less that of the piece, and ranks
    /// the subsets alike. The run on all examples is not among them.
    /// </remarks>
    /// <param name="trainIds">Every training example's id, N.</param>
    /// <param name="count">How many pieces, 2 to N; 100, of one percent each, are usual.</param>
    /// <param name="seed">Of the cut.</param>
    /// <returns>Subsets that lack floor(N/count) or one more examples each, named <c>without chunk 0</c>, <c>without chunk 1</c>,
    /// ...</returns>
    /// <exception cref="InfluenceException">Ids that repeat, fewer than two pieces, or more pieces than examples.</exception>
    public static Subsets Chunks(IReadOnlyList<long> trainIds, int count, long seed)
    {
        CheckIds(trainIds);
        if (count < 2 || count > trainIds.Count)
        {
            throw new InfluenceException(
                $"At least two pieces and at most one for each training example are expected; found {count} pieces of {trainIds.Count} "
                    + "examples."
            );
        }

        // Ordered by keys of the ids, so that the order in which they are given changes nothing.
        var random = new KeyedRandom(seed, "chunks");
        var pieceOf = trainIds.OrderBy(random.Of).Select((id, k) => (id, k)).ToDictionary(p => p.id, p => p.k % count);
        return new Subsets(
            [.. trainIds],
            Enumerable
                .Range(0, count)
                .Select(j =>
                    (
                        $"without chunk {j.ToString(CultureInfo.InvariantCulture)}",
                        TrainingSubset.BitsOf(trainIds.Count, i => pieceOf[trainIds[i]] != j)
                    )
                )
        );
    }

    /// <summary>Subsets of your own.</summary>
    /// <param name="trainIds">Every training example's id.</param>
    /// <param name="subsets">Name and the ids in it.</param>
    /// <returns>The subsets.</returns>
    /// <exception cref="InfluenceException">Ids or names that repeat, or an id that is none of the training examples'.</exception>
    public static Subsets Of(IReadOnlyList<long> trainIds, params (string Name, IEnumerable<long> Ids)[] subsets)
    {
        ArgumentNullException.ThrowIfNull(subsets);
        return Build(trainIds, subsets, keep: true);
    }

    /// <summary>All examples, then all but the named ones: for a removal plan.</summary>
    internal static Subsets Without(IReadOnlyList<long> trainIds, IEnumerable<(string Name, IEnumerable<long> Ids)> removed) =>
        Build(trainIds, [(AllName, []), .. removed], keep: false);

    /// <inheritdoc/>
    public IEnumerator<TrainingSubset> GetEnumerator() => ((IEnumerable<TrainingSubset>)_subsets).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table of names and sizes.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"{Count:N0} subsets of {TrainIds.Count:N0} training examples",
            ["subset", "examples"],
            [.. _subsets.Take(Table.MaximumRows).Select(s => (IReadOnlyList<object>)[s.Name, s.Count])],
            Count
        );

    private static Subsets Drawn(IReadOnlyList<long> trainIds, double share, int count, long seed, string name)
    {
        CheckIds(trainIds);
        var size = (int)Math.Floor(share * trainIds.Count);
        if (count < 1 || !(share > 0 && share < 1) || size < 1 || size >= trainIds.Count)
        {
            throw new InfluenceException(
                "A share between 0 and 1 that leaves examples in and out, and at least one subset, are expected; found a share of "
                    + $"{share} of {trainIds.Count} examples and {count} subsets."
            );
        }

        return new Subsets(
            [.. trainIds],
            Enumerable
                .Range(0, count)
                .Select(j =>
                {
                    var random = new KeyedRandom(seed, "subset", j);
                    var kept = trainIds.OrderBy(random.Of).Take(size).ToHashSet();
                    return (
                        $"{name} {j.ToString(CultureInfo.InvariantCulture)}",
                        TrainingSubset.BitsOf(trainIds.Count, i => kept.Contains(trainIds[i]))
                    );
                })
        );
    }

    private static Subsets Build(IReadOnlyList<long> trainIds, (string Name, IEnumerable<long> Ids)[] subsets, bool keep)
    {
        CheckIds(trainIds);
        var all = trainIds.ToHashSet();
        var problems = new List<string>();
        if (subsets.Length == 0)
        {
            problems.Add("There is no subset: at least one is needed.");
        }

        var names = new HashSet<string>();
        var built = new List<(string, byte[])>();
        foreach (var (name, ids) in subsets)
        {
            if (string.IsNullOrWhiteSpace(name) || !names.Add(name))
            {
                problems.Add(
                    $"Each subset needs a name of its own; found \"{name}\" "
                        + $"{(string.IsNullOrWhiteSpace(name) ? "as a name" : "twice")}."
                );
            }

            var listed = ids.ToHashSet();
            var unknown = listed.Where(id => !all.Contains(id)).ToList();
            if (unknown.Count > 0)
            {
                problems.Add($"The subset \"{name}\" names ids that no training example has: {InfluenceException.List(unknown)}.");
            }

            built.Add((name, TrainingSubset.BitsOf(trainIds.Count, i => listed.Contains(trainIds[i]) == keep)));
        }

        InfluenceException.ThrowIfAny(problems);
        return new Subsets([.. trainIds], built);
    }

    private static void CheckIds(IReadOnlyList<long> trainIds)
    {
        ArgumentNullException.ThrowIfNull(trainIds);
        if (trainIds.Count == 0 || trainIds.Distinct().Count() != trainIds.Count)
        {
            throw new InfluenceException(
                $"Training ids are needed, no id twice; found {trainIds.Count} ids, {trainIds.Distinct().Count()} different."
            );
        }
    }
}
