using Influence;
using Influence.Estimators;

namespace PretrainedTextClassifier;

/// <summary>One test mail with the training mails that did most for and against its right class, and by which of their words.</summary>
/// <param name="TestMail">Its position in the test set.</param>
/// <param name="Proponents">Training on these lowered the loss of its own class most.</param>
/// <param name="Opponents">Training on these raised it most.</param>
/// <param name="Pieces">For each of these training mails, by id: a score for each of its pieces.</param>
internal sealed record Explanation(
    int TestMail, RankedExamples Proponents, RankedExamples Opponents, IReadOnlyDictionary<long, double[]> Pieces)
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
        CancellationToken cancellationToken)
    {
        var chosen = Choose(predictions);
        var queries = test.Only(chosen.Select(i => (long)i));
        using var scores = costs.Measure(
            $"scores of all training mails for {queries.Count} queries", () => influence.Score(task, train, queries, progress, cancellationToken));
        return costs.Measure("scores of their words", () => chosen.Select(mail =>
        {
            var row = scores.QueryIds.Index().Single(id => id.Item == mail).Index;
            var (best, worst) = (scores.Proponents(row, Strongest), scores.Opponents(row, Strongest));
            var strongest = train.Only(best.Ids.Concat(worst.Ids));
            using var pieces = influence.ScorePositions(task, strongest, queries.Only([mail]), progress, cancellationToken);
            return new Explanation(mail, best, worst, pieces.TrainIds.Index().ToDictionary(id => id.Item, id => pieces.For(0, id.Index)));
        }).ToList());
    }
}
