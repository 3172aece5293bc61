using Influence;
using Influence.Evaluation;
using Influence.Reports;

namespace LanguageModelAttribution;

/// <summary>Lays the run out on a page: the figures, and for each query its proponents by each method.</summary>
internal sealed record Report
{
    public required Corpus Corpus { get; init; }

    public required IReadOnlyList<Query> Queries { get; init; }

    /// <summary>Each method's strongest proponents, and all its scores.</summary>
    public required IReadOnlyList<(Attribution Attribution, InfluenceScores Scores)> Methods { get; init; }

    public required DomainShares Shares { get; init; }

    /// <summary>The model and its training, in words.</summary>
    public required string Training { get; init; }

    public required CostLog Cost { get; init; }

    public InfluenceReport ToPage()
    {
        var corpus = Corpus.ToTable().ToList();
        var report = new InfluenceReport("Which training passages made this likely?")
        {
            Summary =
            [
                "A small language model, one token a byte, was trained on passages of several domains. For ten passages, held out "
                    + "or written by the model itself, this page shows the training passages that did most to make them likely.",
                Training,
                "A colour behind a character says what learning to predict it did for the query: blue made the query likelier, red "
                    + "less likely, the strongest character of a passage in full colour. An opened passage has the same score split by "
                    + "where in it the model's hidden states stood, too. TracIn's colours are those of its last checkpoint.",
                "Scores of the two methods have different units. TracIn's formula is that of plain SGD, and this model was trained "
                    + "with AdamW. EK-FAC's score over the number of training passages stands for the rise of the query's loss without "
                    + "the passage; on a model stopped as early as this one, read it as a ranking.",
            ],
        };
        report.Table("The corpus", corpus[0], corpus.Skip(1));
        report.Bars(
            $"The domain of the top {Attribution.Counted} proponents",
            "percent of the query's own domain",
            [.. Shares.Methods, "chance"],
            [.. Shares.Rows().Select(row => (row.Label, (IReadOnlyList<Estimate>)[.. row.Own.Append(row.Chance).Select(Percent)]))],
            "How many of the strongest proponents are of the query's own domain. Chance is that domain's share of the training "
                + "passages. A passage that the model wrote counts as its prompt's, even where the model drifts off into another domain: "
                + "there the proponents may well be right and the count low."
        );
        Func<long, ExampleView> train = Passage;
        Func<long, ExampleView> query = Asked;
        foreach (var (attribution, scores) in Methods)
        {
            report.Queries(
                scores,
                train,
                query,
                Attribution.Shown,
                (asked, id) => Coloured(attribution, (int)asked, id),
                opponents: false,
                heading: attribution.Method
            );
        }

        return report.Cost(Cost);
    }

    private static Estimate Percent(double share) => new(100 * share, double.NaN, double.NaN);

    private ExampleView Passage(long id) =>
        ExampleView.FromText(Corpus.Train[(int)id].ToString()) with
        {
            Label = Corpus.Domains[Corpus.Train[(int)id].Domain].Name,
        };

    private ExampleView Asked(long id)
    {
        var query = Queries[(int)id];
        var given = query.IsGenerated ? query.GivenBytes : 0;
        return ExampleView.FromText(query.Passage.ToString()) with
        {
            Label = Shares.Label((int)id),
            Fields =
                given == 0 ? [] : [("given", string.Concat(query.Passage.Characters().Where(c => c.Start < given).Select(c => c.Text)))],
        };
    }

    /// <summary>The passage with each character's part in the score; the values of a character's bytes are added up.</summary>
    private ExampleView? Coloured(Attribution attribution, int query, long id)
    {
        if (!attribution.Bytes.TryGetValue((query, id), out var bytes))
        {
            return null;
        }

        var characters = Corpus.Train[(int)id].Characters().ToList();
        string[] texts = [.. characters.Select(c => c.Text == "\n" ? "\u23CE\n" : c.Text)];
        double[] Sums(IReadOnlyList<double> values) => [.. characters.Select(c => Enumerable.Range(c.Start, c.Length).Sum(i => values[i]))];
        return ExampleView
            .FromTokens(texts, Sums(bytes.Predicted), "by predicted byte")
            .WithTokens(texts, Sums(bytes.Read), "by hidden position");
    }
}
