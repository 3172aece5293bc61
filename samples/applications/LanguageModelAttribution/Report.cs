using System.Globalization;
using Influence;

namespace LanguageModelAttribution;

/// <summary>Lays the run out on a page: the figures, and for each query its proponents by each method.</summary>
internal sealed record Report
{
    public required Corpus Corpus { get; init; }

    public required IReadOnlyList<Query> Queries { get; init; }

    public required IReadOnlyList<Attribution> Attributions { get; init; }

    public required DomainShares Shares { get; init; }

    /// <summary>The model and its training, in words.</summary>
    public required string Training { get; init; }

    /// <summary>How long each stage took, in words.</summary>
    public required string Timing { get; init; }

    public HtmlPage ToPage()
    {
        var page = new HtmlPage("Which training passages made this likely?")
            .Paragraph(
                "A small language model, one token a byte, was trained on passages of several domains. For ten passages, held out " +
                "or written by the model itself, this page shows the training passages that did most to make them likely.")
            .Paragraph(Training)
            .Table(Corpus.ToTable())
            .Html($"<div class=\"legend\">{string.Concat(Corpus.Domains.Select((_, domain) => Tag(domain)))}</div>")
            .Heading($"The domain of the top {Attribution.Counted} proponents")
            .Paragraph(
                "How many of the strongest proponents are of the query's own domain. Chance is that domain's share of the " +
                "training passages. A passage that the model wrote counts as its prompt's, even where the model drifts off into " +
                "another domain: there the proponents may well be right and the count low.")
            .Html(BarFigure.Draw(Shares));
        page.Heading("The proponents, byte by byte")
            .Paragraph(
                "A colour behind a character says what learning to predict it did for the query: blue made the query likelier, red " +
                "less likely, the strongest character of a passage in full colour. \"By hidden position\" splits the same score by " +
                "where in the passage the model's hidden states stood. TracIn's colours are those of its last checkpoint. Faint text " +
                "at the beginning of a query is the prompt, which is not explained.")
            .Paragraph(
                "Scores of the two methods have different units. TracIn's formula is that of plain SGD, and this model was trained " +
                "with AdamW. EK-FAC's score over the number of training passages stands for the rise of the query's loss without " +
                "the passage; on a model stopped as early as this one, read it as a ranking.");
        foreach (var (index, query) in Queries.Index())
        {
            page.Heading(Shares.Label(index))
                .Html($"<div class=\"box text\">{QueryText(query)}</div>")
                .Html($"<div class=\"methods\">{string.Concat(Attributions.Select((_, method) => Column(index, method)))}</div>");
        }

        return page.Html($"<p class=\"faint\">{HtmlPage.Encode(Timing)}</p>");
    }

    private static string QueryText(Query query)
    {
        var given = query.IsGenerated ? query.GivenBytes : 0;
        var characters = query.Passage.Characters().ToLookup(c => c.Start < given, c => c.Text);
        return $"<span class=\"faint\">{Joined(true)}</span>{Joined(false)}";

        string Joined(bool isGiven) => HtmlPage.Encode(string.Concat(characters[isGiven]));
    }

    private string Column(int query, int method)
    {
        var attribution = Attributions[method];
        var shown = attribution.Top[query].Take(Attribution.Shown).ToList();
        var cells = string.Concat(Shares.Domains(method, query).Select(domain =>
            $"<i style=\"{Hue(domain)}\"{(domain == Queries[query].Passage.Domain ? " class=\"own\"" : string.Empty)} " +
            $"title=\"{HtmlPage.Encode(Corpus.Domains[domain].Name)}\"></i>"));
        return
            $"<div><h3>{HtmlPage.Encode(attribution.Method)}</h3>" +
            $"<div class=\"strip\">{cells}<span>{Shares.Own(method, query):0%} own domain, chance {Shares.Chance(query):0%}</span></div>" +
            $"{string.Concat(shown.Select(proponent => Card(attribution, query, proponent)))}</div>";
    }

    private string Card(Attribution attribution, int query, RankedExample proponent)
    {
        var passage = Corpus.Train[(int)proponent.Id];
        var bytes = attribution.Bytes[(query, proponent.Id)];
        return
            $"<div class=\"box\"><div class=\"head\">{Tag(passage.Domain)}<span class=\"faint\">#{proponent.Id}, {Number(proponent.Score)}</span></div>" +
            $"<div class=\"text\">{HeatMap.Draw(passage, bytes.Predicted)}</div>" +
            $"<details><summary>by hidden position</summary><div class=\"text\">{HeatMap.Draw(passage, bytes.Read)}</div></details></div>";
    }

    private static string Number(double score) =>
        score.ToString(Math.Abs(score) >= 1000 ? "+#,0;-#,0" : "+0.###;-0.###", CultureInfo.InvariantCulture);

    private string Tag(int domain) =>
        $"<span class=\"domain\" style=\"{Hue(domain)}\">{HtmlPage.Encode(Corpus.Domains[domain].Name)}</span>";

    private string Hue(int domain) => $"--hue:hsl({domain * 360 / Corpus.Domains.Count} 60% 50%)";
}
