using Influence;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace PretrainedTextClassifier;

/// <summary>What did most for and against the right classes of some test mails, and by which words; whoever makes it disposes it.</summary>
/// <param name="Scores">Of all training mails for the test mails.</param>
/// <param name="Pieces">For each test mail, by id, and each of its strongest training mails: a score for each piece.</param>
internal sealed record Explanation(InfluenceScores Scores, IReadOnlyDictionary<(long Query, long Train), double[]> Pieces) : IDisposable
{
    /// <summary>How many proponents a test mail has, and how many opponents.</summary>
    public const int Strongest = 2;

    private const int Wrong = 4;
    private const int Count = 6;

    /// <summary>Wrong predictions first, then right ones, each in the order of the test set.</summary>
    private static long[] Choose(Predictions predictions)
    {
        var mails = Enumerable.Range(0, predictions.Labels.Count).ToList();
        var wrong = mails.Where(i => predictions.Class(i) != predictions.Labels[i]).Take(Wrong).ToList();
        return [.. wrong, .. mails.Where(i => predictions.Class(i) == predictions.Labels[i]).Take(Count - wrong.Count)];
    }

    public static Explanation Explain(
        InfluenceFunction influence,
        InfluenceTask task,
        Examples train,
        MailTensors test,
        Predictions predictions,
        Costs costs,
        IProgress<InfluenceProgress> progress,
        CancellationToken cancellationToken
    )
    {
        using var scope = NewDisposeScope();
        var chosen = Choose(predictions);
        var rows = tensor(chosen);
        var queries = Examples.FromTensors(
            ("ids", test.Ids.index_select(0, rows)),
            ("mask", test.Mask.index_select(0, rows)),
            ("label", test.Labels.index_select(0, rows))
        ) with
        {
            Ids = chosen,
        };
        var scores = costs.Measure(
            $"scores of all training mails for {queries.Count} queries",
            () => influence.Score(task, train, queries, progress, cancellationToken)
        );
        var pairs = scores
            .QueryIds.SelectMany(
                (query, row) =>
                    scores
                        .Proponents(row, Strongest)
                        .Ids.Concat(scores.Opponents(row, Strongest).Ids)
                        .Distinct()
                        .Select(id => (Query: query, Train: id))
            )
            .ToList();
        var strongest = train.Only(pairs.Select(pair => pair.Train).Distinct());
        using var pieces = costs.Measure(
            $"scores of the words of {strongest.Count} mails",
            () => influence.ScorePositions(task, strongest, queries, progress, cancellationToken)
        );
        return new Explanation(
            scores,
            pairs.ToDictionary(
                pair => pair,
                pair => pieces.For(Position(pieces.QueryIds, pair.Query), Position(pieces.TrainIds, pair.Train))
            )
        );

        static int Position(IReadOnlyList<long> ids, long id) => ids.Index().Single(own => own.Item == id).Index;
    }

    public void Dispose() => Scores.Dispose();
}
