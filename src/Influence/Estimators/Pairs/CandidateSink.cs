using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Keeps of each query the scores of its candidates alone, and ranks them. Ties go to the lowest position.</summary>
/// <param name="k">How many of each kind; a query has at least as many candidates.</param>
/// <param name="candidates">The ids of the candidates of each query.</param>
/// <param name="trainCount">How many training examples they were chosen from.</param>
internal sealed class CandidateSink(int k, IReadOnlyList<HashSet<long>> candidates, int trainCount) : ScoreSink
{
    private List<(double Score, int Position)>[] _scores = [];

    public StrongestExamples Finish(ScoreMetadata metadata)
    {
        CheckComplete();
        return new StrongestExamples(
            QueryIds,
            trainCount,
            [.. _scores.Select(scores => Named(scores.OrderByDescending(example => example.Score)))],
            [.. _scores.Select(scores => Named(scores.OrderBy(example => example.Score)))],
            metadata
        );

        (long Id, double Score)[] Named(IOrderedEnumerable<(double Score, int Position)> ranked) =>
            [.. ranked.ThenBy(example => example.Position).Take(k).Select(example => (TrainIds[example.Position], example.Score))];
    }

    protected override void Start()
    {
        if (QueryIds.Count != candidates.Count)
        {
            throw new InfluenceException(
                $"Each query has candidates of its own, so each needs scores of its own: {candidates.Count} rows are expected, and "
                    + $"the estimator has {QueryIds.Count}. Rerank by an estimator that does not score queries together."
            );
        }

        _scores = [.. candidates.Select(own => new List<(double, int)>(own.Count))];
    }

    protected override void Take(int query, int train, Tensor values)
    {
        using var scope = NewDisposeScope();
        var (rows, columns) = ((int)values.shape[0], (int)values.shape[1]);
        var scores = values.to_type(ScalarType.Float64).contiguous().data<double>().ToArray(); // [q, b]
        for (var q = 0; q < rows; q++)
        {
            for (var i = 0; i < columns; i++)
            {
                if (candidates[query + q].Contains(TrainIds[train + i]))
                {
                    _scores[query + q].Add((scores[(q * columns) + i], train + i));
                }
            }
        }
    }
}
