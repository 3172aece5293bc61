using Influence.Estimators;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// The influence of groups of training examples (domains, sources, classes, users) on groups of queries: the sum of the members'
/// scores, by ordinary backward passes and not by per-example gradients.
/// <code>s(G, q) = sum over z in G of s(z, q) = (M grad f(q)) . (sum over z in G of grad L(z))</code>
/// </summary>
/// <remarks>
/// <para>
/// Training examples that are in no group do not take part. An example that is in two groups counts in both. A row is the mean
/// measurement of a query group; queries that are in no query group do not take part; without query groups each query is a row.
/// </para>
/// <para>
/// Unit and sign are those of the estimator, summed over the group: for influence functions the group's score over N is the
/// first-order prediction of how the measurement rises when the group is left out. For large coherent groups that falls short:
/// see <see cref="GroupEffect"/>.
/// </para>
/// <para>
/// Cost (for each checkpoint): a forward and backward pass for each part of a group, or for each batch of it, and one product with
/// the kept query gradients. That is about a training epoch without the optimizer where groups hold hundreds of examples. Of groups
/// smaller than a batch each part is a pass of its own, as dear as a batch in a small model: 500 groups of 16 are 1,000 passes, where
/// an epoch in batches of 128 has 63; <see cref="Blocks"/> = 1 halves that. Memory: the kept query gradients, one
/// vector of the parameters' size for each row and beside it one more while they are preconditioned; with more of them than the
/// estimator's <c>MemoryBudget</c> allows, the examples are passed several times. What a loader gives waits, up to a quarter of
/// that budget, until its group has a batch full.
/// </para>
/// <para>
/// Reference: Koh, Ang, Teo, Liang, "On the Accuracy of Influence Functions for Measuring Group Effects", NeurIPS 2019, section 2.
/// </para>
/// </remarks>
public sealed record GroupInfluence
{
    private readonly LinearEstimator _estimator;

    /// <summary>By influence functions.</summary>
    /// <param name="estimator">Not normalised; it, and its preconditioner, stay the caller's.</param>
    /// <exception cref="InfluenceException">Its scores are normalised, and so not linear in the gradients, or its queries
    /// aggregated.</exception>
    public GroupInfluence(InfluenceFunction estimator)
        : this(new LinearInfluence(estimator ?? throw new ArgumentNullException(nameof(estimator)))) { }

    /// <summary>By TracIn over its checkpoints.</summary>
    /// <param name="estimator">With dot products.</param>
    /// <exception cref="InfluenceException">It compares by cosine, which is not linear in the gradients.</exception>
    public GroupInfluence(TracIn estimator)
        : this(new LinearTracIn(estimator ?? throw new ArgumentNullException(nameof(estimator)))) { }

    private GroupInfluence(LinearEstimator estimator)
    {
        InfluenceException.ThrowIfAny([.. estimator.Problems()]);
        _estimator = estimator;
    }

    /// <summary>
    /// The number of tokens of each example, <c>[B]</c>: <c>b => b["mask"].sum(-1)</c>. Per-token means are over them, and a
    /// mixture is made of those. The examples are read once more for it, without the model.
    /// </summary>
    /// <value>Null: a token is an example.</value>
    public Func<ExampleBatch, Tensor>? Tokens { get; init; }

    /// <summary>
    /// The most examples of a group whose gradients are taken: of a larger one so many are drawn at random, and their sum is
    /// scaled to the whole group. The sampling error is in the scores.
    /// </summary>
    /// <value>All of them.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int MaximumExamples
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = int.MaxValue;

    /// <summary>
    /// Random parts that a group is dealt to, for its standard error; one an example where it has fewer. More parts, closer
    /// intervals (their t quantile at 95% is 2.36 for 8 parts, 2.09 for 20), and smaller batches where a part does not fill one. 1: no
    /// intervals.
    /// </summary>
    /// <value>
    /// Null: by the examples of the group that are looked at, one for each 64 up to 8 parts, from then on one for each 128 up to 20; at
    /// least 2. A group of less than 192 has 2 parts, and the t quantile of its intervals is 12.7.
    /// </value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int? Blocks
    {
        get;
        init => field = Check.AtLeastOne(value);
    }

    /// <summary>The seed of both draws; an example's lot depends on it and on the example's id.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Scores every training group for every query group.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found.</param>
    /// <param name="train">Training examples.</param>
    /// <param name="groups">Groups of their ids.</param>
    /// <param name="queries">Queries; their measurement is explained.</param>
    /// <param name="queryGroups">Groups of their ids; null: each query on its own, named by its id (<c>query 17</c>).</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>Scores, sizes and standard errors, in plain memory.</returns>
    /// <exception cref="InfluenceException">Bad input, ids in groups that no example has among it; told before the first batch where
    /// possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public GroupScores Score(
        InfluenceTask task,
        Examples train,
        ExampleGroups groups,
        Examples queries,
        ExampleGroups? queryGroups = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(groups);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        InfluenceException.ThrowIfAny([
            .. GroupPlan.Problems(groups, train, "groups", "training examples"),
            .. GroupPlan.Problems(queryGroups, queries, "query groups", "queries"),
        ]);
        queryGroups ??= ExampleGroups.Of(queries.Ids, id => $"query {id}");
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var (plan, rows, sizes) = Planned(train, groups, queries, queryGroups, cancellationToken);
        using var reporter = new ProgressReporter(progress, "group influence", _estimator.Steps, plan.Gradients, cancellationToken);
        var values = new double[plan.Slots.Count, rows.Slots.Count];
        var metadata = _estimator.Run(
            task,
            train,
            queries,
            reporter,
            step => new GroupProducts(step, _estimator.MemoryBudget, reporter).Add(values, train, plan, queries, rows)
        );
        var (sums, errors) = new BlockSums(plan, values).Total();
        Log.GroupsScored(task.Logger, _estimator.Name, groups.Names.Count, rows.Slots.Count, plan.Gradients, reporter.Elapsed.TotalSeconds);
        return new GroupScores(sums, queryGroups.Names, sizes, Described(metadata, groups, queryGroups, train), errors)
        {
            QueryCounts = [.. rows.Slots.Select(slot => slot.Positions.Length)],
        };
    }

    private (GroupPlan Plan, GroupPlan Rows, List<GroupScores.Row> Sizes) Planned(
        Examples train,
        ExampleGroups groups,
        Examples queries,
        ExampleGroups queryGroups,
        CancellationToken token
    )
    {
        using var span = Spans.Of("groups planned");
        var (plan, rows) = (GroupPlan.Of(groups, train, MaximumExamples, Blocks, Seed), GroupPlan.Whole(queryGroups, queries));
        return (plan, rows, Sizes(plan, train, token));
    }

    private List<GroupScores.Row> Sizes(GroupPlan plan, Examples train, CancellationToken token)
    {
        var tokens = TokenCounts.Of(train, Tokens, token);
        var positions = train.Ids.Select((id, position) => (id, position)).ToDictionary(pair => pair.id, pair => pair.position);
        var sizes = plan
            .Groups.Names.Select(
                (name, g) =>
                {
                    var (members, scored) = (plan.Groups[name], plan.Slots.Where(slot => slot.Group == g).ToList());
                    return new GroupScores.Row(
                        name,
                        members.Count,
                        tokens.Sum(members.Select(id => positions[id])),
                        scored.Sum(slot => (long)slot.Positions.Length),
                        tokens.Sum(scored.SelectMany(slot => slot.Positions))
                    )
                    {
                        Blocks = scored.Count,
                    };
                }
            )
            .ToList();
        InfluenceException.ThrowIfAny([
            .. sizes
                .Where(size => size.Tokens <= 0)
                .Select(size =>
                    $"Tokens counts none in the group \"{size.Name}\" of {size.Examples} examples, so it has no mean per token. Leave the "
                    + "group out, or count otherwise."
                ),
        ]);
        return sizes;
    }

    private static ScoreMetadata Described(ScoreMetadata metadata, ExampleGroups groups, ExampleGroups queryGroups, Examples train)
    {
        var left = train.Count - groups.Ids.Count();
        string[] notes =
        [
            metadata.Notes,
            .. groups.Overlap ? ["groups overlap: an example counts in each of its groups"] : Array.Empty<string>(),
            .. queryGroups.Overlap ? ["query groups overlap"] : Array.Empty<string>(),
            .. left > 0 ? [$"{left} of {train.Count} training examples are in no group"] : Array.Empty<string>(),
        ];
        return metadata with { Estimator = $"group influence, {metadata.Estimator}", Notes = ScoreMetadata.Joined(notes) };
    }
}
