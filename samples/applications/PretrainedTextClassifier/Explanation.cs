using Influence;
using Influence.Estimators;

namespace PretrainedTextClassifier;

/// <summary>One test mail with the training mails that did most for and against its right class, and by which of their words.</summary>
/// <param name="TestMail">Its position in the test set.</param>
/// <param name="Proponents">Training on these lowered the loss of its own class most.</param>
/// <param name="Opponents">Training on these raised it most.</param>
/// <param name="Pieces">For each of these training mails, by id: a score for each of its pieces.</param>
internal sealed record Explanation(
    int TestMail,
    RankedExamples Proponents,
    RankedExamples Opponents,
    IReadOnlyDictionary<long, double[]> Pieces
)
{
    private const int Wrong = 4;
    private const int Count = 6;
    private const int Strongest = 2;

    /// <summary>Wrong predictions first, then right ones, each in the order of the test set.</summary>
    private static int[] Choose(Predictions predictions)
    {
        var mails = Enumerable.Range(0, predictions.Labels.Count).ToList();
        var wrong = mails.Where(i => predictions.Class(i) != predictions.Labels[i]).Take(Wrong).ToArray();
        return [.. wrong, .. mails.Where(i => predictions.Class(i) == predictions.Labels[i]).Take(Count - wrong.Length)];
    }

    public static IReadOnlyList<Explanation> Explain(
        InfluenceFunction influence,
        InfluenceTask task,
        Examples train,
        Examples test,
        Predictions predictions,
        Costs costs,
        IProgress<InfluenceProgress> progress,
        CancellationToken cancellationToken
    )
    {
        var chosen = Choose(predictions);
        var queries = test.Only(chosen.Select(i => (long)i));
        using var scores = costs.Measure(
            $"scores of all training mails for {queries.Count} queries",
            () => influence.Score(task, train, queries, progress, cancellationToken)
        );
        var ranked = chosen
            .Select(mail =>
            {
                var row = scores.QueryIds.Index().Single(id => id.Item == mail).Index;
                return (Mail: mail, Row: row, Best: scores.Proponents(row, Strongest), Worst: scores.Opponents(row, Strongest));
            })
            .ToList();
        var strongest = train.Only(ranked.SelectMany(r => r.Best.Ids.Concat(r.Worst.Ids)).Distinct());
        using var pieces = costs.Measure(
            $"scores of the words of {strongest.Count} mails",
            () => influence.ScorePositions(task, strongest, queries, progress, cancellationToken)
        );
        return
        [
            .. ranked.Select(r => new Explanation(
                r.Mail,
                r.Best,
                r.Worst,
                r.Best.Ids.Concat(r.Worst.Ids)
                    .ToDictionary(id => id, id => pieces.For(r.Row, pieces.TrainIds.Index().Single(own => own.Item == id).Index))
            )),
        ];
    }
}
