using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>The targets that a selection serves, with one score a candidate for each: tasks where the pool has them, else single
/// queries.</summary>
internal sealed class TargetScores
{
    private readonly SelectionPool _pool;
    private readonly IReadOnlyList<long[]> _rows;
    private readonly IReadOnlyList<string> _names;

    /// <param name="pool">With scores.</param>
    /// <param name="singleQueries">Whether each query is a target, also where there are tasks.</param>
    public TargetScores(SelectionPool pool, bool singleQueries = false)
    {
        _pool = pool;
        if (pool.Tasks is null || singleQueries)
        {
            _rows = [.. pool.QueryIds.Select((_, q) => new[] { (long)q })];
            _names = [.. pool.QueryIds.Select(id => $"query {id}")];
            return;
        }

        var tasks = Relevance.TaskRows(pool).ToList();
        (_names, _rows) = ([.. tasks.Select(task => task.Name)], [.. tasks.Select(task => task.Rows)]);
    }

    /// <summary>The number of targets, V.</summary>
    public int Count => _rows.Count;

    /// <summary>A target's name, for notes.</summary>
    public string Name(int target) => _names[target];

    /// <summary>The mean over the target's queries, by position.</summary>
    public double[] Mean(int target) => Reduced(target, rows => rows.mean([0L], type: ScalarType.Float64));

    /// <summary>The maximum over the target's queries, by position.</summary>
    public double[] Max(int target) => Reduced(target, rows => rows.amax([0L]));

    /// <summary>A sentence on how often each target was served.</summary>
    public string Shares(string what, IEnumerable<int> targets)
    {
        var counts = targets.CountBy(target => target).ToDictionary();
        var order = Enumerable.Range(0, Count).OrderByDescending(target => counts.GetValueOrDefault(target)).ToList();
        return $"{what}: {InfluenceException.List([.. order.Select(target => $"{Name(target)} {counts.GetValueOrDefault(target):N0}")])}.";
    }

    private double[] Reduced(int target, Func<Tensor, Tensor> reduce)
    {
        if (_rows[target].Length == 1)
        {
            return Relevance.Row(_pool, _rows[target][0]);
        }

        using var scope = NewDisposeScope();
        var rows = _pool.Scores!.index_select(0, tensor(_rows[target])); // [queries of the target, N]
        return reduce(rows).to_type(ScalarType.Float64).data<double>().ToArray();
    }
}
