using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Judging;

/// <summary>Scores for queries made of what is there: one number an example for all queries, some of the queries, the sum over
/// runs.</summary>
internal static class EachQuery
{
    /// <summary>An example's own score stands for its influence on every query.</summary>
    public static InfluenceScores Same(ExampleScores scores, Examples queries)
    {
        using var scope = NewDisposeScope();
        var row = tensor(scores.Values.ToArray()).unsqueeze(0); // [1, N]
        return new InfluenceScores(
            row.expand(queries.Count, -1).contiguous().MoveToOuterDisposeScope(),
            queries.Ids,
            scores.Ids,
            scores.Metadata
        );
    }

    /// <summary>The rows of some queries.</summary>
    public static InfluenceScores Some(InfluenceScores scores, IReadOnlyList<long> queryIds)
    {
        using var scope = NewDisposeScope();
        var rows = tensor(queryIds.Select(id => (long)scores.RowOf(id)).ToArray()); // [q]
        return new InfluenceScores(
            scores.Values.index_select(0, rows).MoveToOuterDisposeScope(),
            queryIds,
            scores.TrainIds,
            scores.Metadata
        );
    }

    /// <summary>The sum of scores over runs.</summary>
    public static InfluenceScores Sum<T>(IEnumerable<T> runs, Func<T, InfluenceScores> score)
    {
        using var scope = NewDisposeScope();
        Tensor? sum = null;
        InfluenceScores? last = null;
        foreach (var run in runs)
        {
            last?.Dispose();
            last = score(run);
            sum = sum is null ? last.Values.clone() : sum.add_(last.Values); // [Q, N]
        }

        using (last)
        {
            return new InfluenceScores(sum!.MoveToOuterDisposeScope(), last!.QueryIds, last.TrainIds, last.Metadata);
        }
    }
}
