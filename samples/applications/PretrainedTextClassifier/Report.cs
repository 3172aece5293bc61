using System.Globalization;
using Influence;
using Influence.Evaluation;
using Influence.Reports;

namespace PretrainedTextClassifier;

/// <summary>The run as a page: the figures, the strongest suspects, the explained test mails.</summary>
internal sealed record Report
{
    private const int Suspects = 20;
    private const int ShownCharacters = 220;

    private const string AboutQueries =
        "Test mails, those with a wrong prediction first, with the training mails that did most to lower the loss of the right class "
        + "(proponents) and most to raise it (opponents). A colour behind a piece of a word says what the states at that position "
        + "did: blue for the right class, red against it.";

    public required string Summary { get; init; }

    public required MailTensors Train { get; init; }

    public required IReadOnlyList<long> Flipped { get; init; }

    public required MailTensors Test { get; init; }

    public required Predictions Predictions { get; init; }

    public required WordPieces Tokenizer { get; init; }

    public required IReadOnlyList<(string Ranking, MislabelDetection.Result Result)> Found { get; init; }

    /// <summary>Each with its head first.</summary>
    public required IReadOnlyList<(string Title, string Text, IReadOnlyList<IReadOnlyList<string>> Rows)> Tables { get; init; }

    /// <summary>What was trained on what, and how well it does.</summary>
    public static string Describe(
        MailClassifier model,
        MailSplit split,
        int flipped,
        Predictions onTest,
        Predictions onHard,
        Options options
    ) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"all-MiniLM-L6-v2 with a new head, {model.TrainedCount:N0} of {model.ParameterCount:N0} parameters trained by AdamW "
                + $"for {options.Epochs} epochs on {split.Train.Count:N0} mails of {options.Length} pieces, {flipped:N0} labels flipped "
                + $"(seed {options.Seed}). Right on {onTest.Accuracy:0.0%} of {split.Test.Count} test mails and {onHard.Accuracy:0.0%} of "
                + $"{split.HardTest.Count} mails of hard ham."
        );

    public InfluenceReport ToPage(ExampleScores suspicion, Explanation explanation)
    {
        var flipped = suspicion.Highest(Math.Min(Suspects, suspicion.Count)).Count(suspect => Flipped.Contains(suspect.Id));
        var page = new InfluenceReport("A pretrained model that tells spam from ham, and what it learnt from")
        {
            Summary = [Summary],
        }.Detection(Found);
        foreach (var (title, text, rows) in Tables)
        {
            page.Table(title, rows[0], rows.Skip(1), text);
        }

        Func<long, ExampleView> training = Training;
        return page.Suspects(
                suspicion,
                training,
                Suspects,
                heading: "Suspects, by EK-FAC's self-influence",
                note: $"{flipped} of them have a flipped label, which is marked."
            )
            .Queries(
                explanation.Scores,
                training,
                Query,
                Explanation.Strongest,
                (query, id) => Coloured(id, explanation.Pieces[(query, id)]),
                heading: "Where predictions come from",
                note: AboutQueries
            );
    }

    private ExampleView Training(long id) =>
        ExampleView.FromText(Short(Train.Mails[(int)id].Text)) with
        {
            Label = Mail.Name(Train.GivenLabels[(int)id]),
            Mark = Flipped.Contains(id) ? "flipped" : string.Empty,
            Fields = Source(Train, id),
        };

    private ExampleView Query(long id)
    {
        var (mail, predicted) = (Test.Mails[(int)id], Predictions.Class((int)id));
        var spam = Predictions.Probabilities[(int)id].ToString("0.00", CultureInfo.InvariantCulture);
        return ExampleView.FromText(Short(mail.Text)) with
        {
            Label = Mail.Name(mail.Label),
            Mark = predicted == mail.Label ? string.Empty : "wrong",
            Fields = [.. Source(Test, id), ("predicted", $"{Mail.Name(predicted)} (spam {spam})")],
        };
    }

    /// <summary>The pieces that the model read, without padding and without the marks at both ends.</summary>
    private ExampleView Coloured(long id, double[] values)
    {
        var (ids, mask) = Tokenizer.Encode(Train.Mails[(int)id].Text, values.Length);
        var read = 1..((int)mask.Sum() - 1);
        string[] pieces = [.. ids[read].Select(Tokenizer.Text)];
        return ExampleView.FromTokens(
            [
                .. pieces.Select(
                    (piece, t) =>
                        piece.StartsWith("##", StringComparison.Ordinal) ? piece[2..]
                        : t == 0 ? piece
                        : $" {piece}"
                ),
            ],
            values[read]
        ) with
        {
            Fields = Source(Train, id),
        };
    }

    private static IReadOnlyList<(string Name, string Value)> Source(MailTensors mails, long id) =>
        [("source", mails.Mails[(int)id].Source)];

    private static string Short(string text) => text.Length <= ShownCharacters ? text : $"{text[..ShownCharacters]} ...";
}
