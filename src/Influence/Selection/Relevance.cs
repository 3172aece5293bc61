using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>How a candidate's scores for several queries become one number.</summary>
public enum ScoreAggregation
{
    /// <summary>Their mean: the queries as one set.</summary>
    Mean,

    /// <summary>The highest: a candidate that helps one query much is worth it.</summary>
    Max,

    /// <summary>The mean over queries of the candidate's rank (highest score, highest rank; ties share): no query's scale counts.</summary>
    MeanRank,

    /// <summary>The mean over a task's queries, then the highest over tasks (LESS).</summary>
    MaxOverTasks,
}

/// <summary>One number a candidate.</summary>
internal static class Relevance
{
    /// <summary>By position.</summary>
    public static double[] Of(SelectionPool pool, ScoreAggregation aggregation)
    {
        using var scope = NewDisposeScope();
        var scores = pool.Scores!; // [Q, N]
        var one =
            scores.shape[0] == 1 && aggregation != ScoreAggregation.MeanRank
                ? scores[0]
                : aggregation switch
                {
                    ScoreAggregation.Mean => scores.mean([0], type: ScalarType.Float64),
                    ScoreAggregation.Max => scores.amax([0L]),
                    ScoreAggregation.MeanRank => MeanRank(scores),
                    _ => MaxOverTasks(pool),
                }; // [N]
        return one.to_type(ScalarType.Float64).data<double>().ToArray();
    }

    /// <summary>One query's scores, by position; copied.</summary>
    public static double[] Row(SelectionPool pool, long query)
    {
        using var scope = NewDisposeScope();
        return pool.Scores!.select(0, query).to_type(ScalarType.Float64).data<double>().ToArray();
    }

    /// <summary>Each task with the rows of its queries; tasks of which no query was scored are left out.</summary>
    public static IEnumerable<(string Name, long[] Rows)> TaskRows(SelectionPool pool)
    {
        var rows = pool.QueryIds.Select((id, q) => (id, q)).ToDictionary(pair => pair.id, pair => (long)pair.q);
        return pool.Tasks!.Names.Select(name => (name, pool.Tasks[name].Where(rows.ContainsKey).Select(id => rows[id]).ToArray()))
            .Where(task => task.Item2.Length > 0);
    }

    /// <summary>Positions, highest first; ties to the lowest position.</summary>
    public static int[] Descending(double[] values)
    {
        var keys = Array.ConvertAll(values, v => -v);
        var positions = Enumerable.Range(0, values.Length).ToArray();
        Array.Sort(keys, positions);
        // Array.Sort is not stable: runs of equal keys are put in order afterwards.
        for (var start = 0; start < keys.Length; )
        {
            var end = start + 1;
            while (end < keys.Length && keys[end] == keys[start])
            {
                end++;
            }

            Array.Sort(positions, start, end - start);
            start = end;
        }

        return positions;
    }

    /// <summary>Positions from one end of the values to the other; ties to the lowest position.</summary>
    public static int[] Sorted(double[] values, bool highestFirst) => Descending(highestFirst ? values : Array.ConvertAll(values, v => -v));

    /// <summary>One task after the other: never a second matrix of the scores' size.</summary>
    private static Tensor MaxOverTasks(SelectionPool pool)
    {
        var targets = new TargetScores(pool);
        var best = tensor(targets.Mean(0)); // [N]
        for (var t = 1; t < targets.Count; t++)
        {
            using var scope = NewDisposeScope();
            best.copy_(maximum(best, tensor(targets.Mean(t))));
        }

        return best;
    }

    private static Tensor MeanRank(Tensor scores)
    {
        var sum = zeros([scores.shape[1]], ScalarType.Float64);
        for (var q = 0L; q < scores.shape[0]; q++)
        {
            using var scope = NewDisposeScope();
            sum.add_(tensor(Ranks.Of(scores[q].to_type(ScalarType.Float64).data<double>().ToArray())));
        }

        return sum.div(Kept(scores.shape[0]));
    }
}
