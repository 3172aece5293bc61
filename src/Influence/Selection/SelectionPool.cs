using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// What there is to choose from: candidates by id, with whatever is known of them. Everything is kept in ascending order of
/// the ids, so that no answer depends on the order in which candidates were given, and ties go to the lowest id.
/// </summary>
/// <remarks>
/// <code>
/// using var pool = new SelectionPool(scores) { Features = embeddings, Groups = ExampleGroups.Of(scores.TrainIds, sources) };
/// var selected = new TopK().Select(pool, SelectionBudget.Fraction(0.1));
/// </code>
/// Scores and features share the caller's memory where the ids were in ascending order, and are copied otherwise; either way
/// the caller may dispose the originals, and disposes the pool. Do not write into them while the pool is in use.
/// </remarks>
public sealed class SelectionPool : IDisposable
{
    private readonly long[] _ids;
    private readonly int[]? _order;
    private readonly Lazy<Dictionary<long, int>> _positions;
    private Tensor? _features;

    /// <summary>Candidates of which nothing is known but what the other properties say.</summary>
    /// <param name="ids">The candidates' ids, in the order of the features and lengths that are given with them.</param>
    /// <exception cref="InfluenceException">No candidate, or ids that repeat.</exception>
    public SelectionPool(IReadOnlyList<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        _ids = [.. ids];
        if (_ids.Length == 0)
        {
            throw new InfluenceException("The pool is empty: at least one candidate is needed.");
        }

        if (!IsAscending(_ids))
        {
            _order = [.. Enumerable.Range(0, _ids.Length)];
            Array.Sort(_ids, _order);
        }

        var repeated = Enumerable.Range(1, _ids.Length - 1).Where(i => _ids[i - 1] == _ids[i]).Select(i => _ids[i]).Distinct().ToList();
        if (repeated.Count > 0)
        {
            throw new InfluenceException($"The pool has ids that repeat: {InfluenceException.List(repeated)}.") { ExampleIds = repeated };
        }

        _positions = new(() => Enumerable.Range(0, _ids.Length).ToDictionary(i => _ids[i]));
    }

    /// <summary>The candidates that were scored, with their scores for each query.</summary>
    /// <param name="scores">Finite scores.</param>
    /// <exception cref="InfluenceException">Scores that are not finite; message and exception name the candidates.</exception>
    public SelectionPool(InfluenceScores scores)
        : this((scores ?? throw new ArgumentNullException(nameof(scores))).TrainIds) =>
        (Scores, QueryIds) = (Arranged(scores.Values, 1, _order, scores.TrainIds, "scores"), scores.QueryIds);

    /// <summary>The candidates that were scored, with one score each; the one query has the id -1.</summary>
    /// <param name="scores">Finite scores; the higher the better.</param>
    /// <exception cref="InfluenceException">Scores that are not finite; message and exception name the candidates.</exception>
    public SelectionPool(ExampleScores scores)
        : this((scores ?? throw new ArgumentNullException(nameof(scores))).Ids)
    {
        using var scope = NewDisposeScope();
        (Scores, QueryIds) = (Arranged(tensor(scores.Values.ToArray()).unsqueeze(0), 1, _order, scores.Ids, "scores"), [-1]);
    }

    /// <summary>Candidates with several scores each, one row a metric, for strategies that put metrics together. The rows' ids are 0, 1,
    /// ...</summary>
    /// <param name="metrics">At least one; all of the same candidates, in any order.</param>
    /// <exception cref="InfluenceException">No metric, candidates that some metric lacks, or scores that are not finite.</exception>
    public SelectionPool(IReadOnlyList<ExampleScores> metrics)
        : this(MetricRows.First(metrics).Ids)
    {
        using var scope = NewDisposeScope();
        var rows = metrics.Select(metric => tensor(MetricRows.InStep(metric, metrics[0].Ids))).ToArray();
        (Scores, QueryIds) = (Arranged(stack(rows), 1, _order, metrics[0].Ids, "scores"), [.. metrics.Select((_, i) => (long)i)]);
    }

    private SelectionPool(SelectionPool whole, int[] positions)
        : this([.. positions.Select(p => whole._ids[p])])
    {
        using var scope = NewDisposeScope();
        var index = tensor(positions.Select(p => (long)p).ToArray());
        Scores = whole.Scores?.index_select(1, index).DetachFromDisposeScope();
        QueryIds = whole.QueryIds;
        Features = whole.Features is { } features ? features.index_select(0, index.to(features.device)) : null;
        Lengths = whole.Lengths is { } lengths ? [.. positions.Select(p => lengths[p])] : null;
        (Groups, Tasks) = (whole.Groups, whole.Tasks);
    }

    /// <summary>The candidates' ids, ascending. A candidate's place in this list is its position.</summary>
    public IReadOnlyList<long> Ids => _ids;

    /// <summary>The number of candidates, N.</summary>
    public int Count => _ids.Length;

    /// <summary><c>[Q, N]</c> on the CPU, float32 or float64, by position: how much each candidate helps each query. Null where
    /// unknown.</summary>
    public Tensor? Scores { get; }

    /// <summary>The ids of the rows of <see cref="Scores"/>.</summary>
    public IReadOnlyList<long> QueryIds { get; } = [];

    /// <summary><c>[N, d]</c>, by position: what candidates are compared by. Null where unknown.</summary>
    /// <value>Set in the order of the constructor's ids; for another order, or to have ids checked, see <see cref="WithFeatures"/>.</value>
    /// <exception cref="InfluenceException">Another shape or dtype, or numbers that are not finite.</exception>
    public Tensor? Features
    {
        get => _features;
        init =>
            OrDispose(() =>
            {
                if (value is not null)
                {
                    FeatureRows.Check(value, Count);
                    _features = Arranged(value, 0, _order, Given(), "features");
                }
            });
    }

    /// <summary>Each candidate's length in tokens, by position. Null where unknown.</summary>
    /// <value>Set in the order of the constructor's ids.</value>
    /// <exception cref="InfluenceException">Not one for each candidate, or less than 1.</exception>
    public IReadOnlyList<long>? Lengths
    {
        get;
        init
        {
            OrDispose(() =>
            {
                if (value is not null && value.Count != Count)
                {
                    throw new InfluenceException($"One length for each of the {Count} candidates is expected; found {value.Count}.");
                }

                if (value is not null && value.Any(length => length < 1))
                {
                    throw new InfluenceException($"Lengths are at least 1 token; found {value.Min()}.");
                }
            });
            field =
                value is null ? null
                : _order is null ? [.. value]
                : [.. _order.Select(i => value[i])];
        }
    }

    /// <summary>The candidates' groups: sources, classes, domains. Null where unknown.</summary>
    public ExampleGroups? Groups { get; init; }

    /// <summary>The queries' groups: the tasks that are to be served. Null: each query is a task of its own.</summary>
    /// <value>Every query is in a task; tasks may hold ids that were not scored.</value>
    /// <exception cref="InfluenceException">Queries that are in no task.</exception>
    public ExampleGroups? Tasks
    {
        get;
        init
        {
            OrDispose(() =>
            {
                if (value is not null && QueryIds.Where(id => !value.GroupsOf.ContainsKey(id)).ToList() is { Count: > 0 } without)
                {
                    throw new InfluenceException(
                        $"These queries are in no task: {InfluenceException.List(without)}. Tasks are groups of query ids: "
                            + "ExampleGroups.Of(scores.QueryIds, tasks)."
                    );
                }
            });
            field = value;
        }
    }

    /// <summary>Gives the pool its features by id, from a table whose rows are in some other order than the scores.</summary>
    /// <remarks><code>using var pool = new SelectionPool(scores) { Lengths = tokens }.WithFeatures(ids, embeddings);</code></remarks>
    /// <param name="ids">The ids of the rows: every candidate's once, and no others.</param>
    /// <param name="features"><c>[N, d]</c>; they stay the caller's.</param>
    /// <returns>This pool. As where a property is refused, an exception disposes it.</returns>
    /// <exception cref="InfluenceException">
    /// Ids that repeat, candidates without features, features of no candidate (message and exception name them), another shape or dtype,
    /// numbers that are not finite, or a pool that has features.
    /// </exception>
    public SelectionPool WithFeatures(IReadOnlyList<long> ids, Tensor features)
    {
        OrDispose(() =>
        {
            ArgumentNullException.ThrowIfNull(ids);
            ArgumentNullException.ThrowIfNull(features);
            if (_features is not null)
            {
                throw new InfluenceException("The pool has features: write either Features or WithFeatures, once.");
            }

            var order = FeatureRows.Order(_ids, ids);
            FeatureRows.Check(features, Count);
            _features = Arranged(features, 0, order, ids, "features");
        });
        return this;
    }

    /// <summary>The position of a candidate.</summary>
    /// <param name="id">Its id.</param>
    /// <exception cref="InfluenceException">There is none of that id.</exception>
    public int PositionOf(long id) =>
        _positions.Value.TryGetValue(id, out var position)
            ? position
            : throw new InfluenceException($"The pool has no candidate of id {id}.") { ExampleIds = [id] };

    /// <summary>Some of the candidates, with what is known of them.</summary>
    /// <param name="positions">Positions in this pool.</param>
    /// <returns>A pool of its own; the caller disposes it.</returns>
    public SelectionPool At(IEnumerable<int> positions)
    {
        ArgumentNullException.ThrowIfNull(positions);
        return new SelectionPool(this, [.. positions.Order()]);
    }

    /// <summary>Frees what the pool holds.</summary>
    public void Dispose()
    {
        Scores?.Dispose();
        Features?.Dispose();
    }

    private static bool IsAscending(long[] ids)
    {
        for (var i = 1; i < ids.Length; i++)
        {
            if (ids[i - 1] >= ids[i])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>In the order of the positions, held by the pool; <paramref name="given"/> has the ids of what was given, for the
    /// message.</summary>
    private static Tensor Arranged(Tensor values, int axis, int[]? order, IReadOnlyList<long> given, string what)
    {
        using var scope = NewDisposeScope();
        var bad = values.isfinite().all(1 - axis).logical_not().nonzero().flatten().cpu().data<long>().ToArray();
        if (bad.Length > 0)
        {
            long[] ids = [.. bad.Select(i => given[(int)i]).Order()];
            throw new InfluenceException(
                $"The {what} of the candidates with these ids are not finite: {InfluenceException.List(ids)}. "
                    + "Leave these candidates out, or find out why they overflow."
            )
            {
                ExampleIds = ids,
            };
        }

        return (
            order is null ? values.alias() : values.index_select(axis, tensor(order.Select(i => (long)i).ToArray(), device: values.device))
        )
            .detach()
            .DetachFromDisposeScope();
    }

    /// <summary>A pool that is refused frees what it holds: its constructor has succeeded, but no caller ever gets it to dispose.</summary>
    private void OrDispose(Action set)
    {
        try
        {
            set();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The ids in the order in which they were given.</summary>
    private long[] Given()
    {
        var given = (long[])_ids.Clone();
        for (var i = 0; i < given.Length && _order is not null; i++)
        {
            given[_order[i]] = _ids[i];
        }

        return given;
    }
}
