using System.Globalization;
using Influence;

namespace PretrainedTextClassifier;

/// <summary>Lays the run out on a page: the figures, the strongest suspects, the explained test mails.</summary>
internal sealed record Report
{
    private const int ShownCharacters = 220;

    public required string Summary { get; init; }

    public required MailTensors Train { get; init; }

    public required IReadOnlyList<long> Flipped { get; init; }

    public required MailTensors Test { get; init; }

    public required Predictions Predictions { get; init; }

    public required WordPieces Tokenizer { get; init; }

    public required IReadOnlyList<(string Title, string Text, IReadOnlyList<IReadOnlyList<string>> Rows)> Tables { get; init; }

    /// <summary>The training mails with the highest self-influence, highest first.</summary>
    public required RankedExamples Suspects { get; init; }

    public required IReadOnlyList<Explanation> Explanations { get; init; }

    public HtmlPage ToPage()
    {
        var page = new HtmlPage("A pretrained model that tells spam from ham, and what it learnt from").Paragraph(Summary);
        foreach (var (title, text, rows) in Tables)
        {
            page.Heading(title).Paragraph(text).Table(rows);
        }

        page.Heading($"The {Suspects.Count} strongest suspects")
            .Paragraph($"{Suspects.Count(s => Flipped.Contains(s.Id))} of them have a flipped label, which is marked.")
            .Html(
                $"<div class=\"pair\">{string.Concat(Suspects.Select(s => Card(s, HtmlPage.Encode(Short(Train.Mails[(int)s.Id].Text)))))}</div>"
            );
        page.Heading("Where predictions come from")
            .Paragraph(
                "Test mails, those with a wrong prediction first, with the training mails that did most to lower the loss of the "
                    + "right class (proponents) and most to raise it (opponents). A colour behind a piece of a word says what the states "
                    + "at that position did: blue for the right class, red against it."
            );
        foreach (var explanation in Explanations)
        {
            var mail = Test.Mails[explanation.TestMail];
            var predicted = Predictions.Class(explanation.TestMail);
            var mark = predicted == mail.Label ? string.Empty : "wrong";
            var spam = Predictions.Probabilities[explanation.TestMail].ToString("0.00", CultureInfo.InvariantCulture);
            page.Html(
                    $"<h3>{HtmlPage.Encode(mail.Subject)}</h3><div "
                        + $"class=\"box\">{Head($"{mail.Source}, predicted {Mail.Name(predicted)} (spam {spam})", mark)}{HtmlPage.Encode(Short(mail.Text))}</div>"
                )
                .Html(
                    $"<div class=\"pair\"><div><h3>Proponents</h3>{Cards(explanation, explanation.Proponents)}</div><div><h3>Opponents</h3>{Cards(explanation, explanation.Opponents)}</div></div>"
                );
        }

        return page;
    }

    private string Cards(Explanation explanation, RankedExamples mails) =>
        string.Concat(mails.Select(mail => Card(mail, HtmlPage.Coloured(Pieces((int)mail.Id, explanation.Pieces[mail.Id])))));

    /// <summary>Without padding, and without the marks at both ends.</summary>
    private IEnumerable<(string Piece, double Value)> Pieces(int mail, double[] values)
    {
        var (ids, mask) = Tokenizer.Encode(Train.Mails[mail].Text, values.Length);
        return Enumerable.Range(1, (int)mask.Sum() - 2).Select(t => (Tokenizer.Text(ids[t]), values[t]));
    }

    private string Card(RankedExamples.Row example, string text)
    {
        var (mail, given) = (Train.Mails[(int)example.Id], Train.GivenLabels[(int)example.Id]);
        var mark = Flipped.Contains(example.Id) ? "flipped" : string.Empty;
        var score = example.Score.ToString(Math.Abs(example.Score) >= 100 ? "+#,0;-#,0" : "+0.##;-0.##", CultureInfo.InvariantCulture);
        return $"<div class=\"box\">{Head($"#{example.Id} {mail.Source}, given as {Mail.Name(given)}, {score}", mark)}{text}</div>";
    }

    private static string Head(string text, string mark) =>
        $"<div class=\"head\"><b>{HtmlPage.Encode(text)}</b> <span class=\"mark\">{HtmlPage.Encode(mark)}</span></div>";

    private static string Short(string text) => text.Length <= ShownCharacters ? text : $"{text[..ShownCharacters]} ...";
}
