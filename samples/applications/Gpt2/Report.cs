using Influence;
using Influence.Estimators;

namespace Gpt2;

/// <summary>What scores say, as tables.</summary>
internal static class Report
{
    private const int Counted = 10;
    private const int Shown = 60;

    /// <summary>For every query how many of its strongest proponents are of its own domain, beside chance, and the strongest one.</summary>
    public static IEnumerable<IReadOnlyList<string>> Proponents(
        Corpus corpus,
        IReadOnlyList<Passage> train,
        IReadOnlyList<Passage> queries,
        InfluenceScores scores
    )
    {
        yield return ["query", "its text", "strongest passage", "of its domain", "by chance"];
        foreach (var (query, passage) in queries.Index())
        {
            var top = scores.Proponents(query, Counted);
            yield return
            [
                corpus.Domains[passage.Domain].Name,
                Text(passage),
                Text(train[(int)top[0].Id]),
                $"{(double)OfOwn(passage, top) / Counted:0%}",
                $"{(double)train.Count(p => p.Domain == passage.Domain) / train.Count:0%}",
            ];
        }

        var together = queries.Select((passage, query) => OfOwn(passage, scores.Proponents(query, Counted))).Sum();
        yield return ["together", string.Empty, string.Empty, $"{(double)together / Counted / queries.Count:0%}", string.Empty];

        int OfOwn(Passage passage, IEnumerable<RankedExamples.Row> top) => top.Count(r => train[(int)r.Id].Domain == passage.Domain);
    }

    /// <summary>Each head's share of what its layer says of every query's strongest passages.</summary>
    public static IEnumerable<IReadOnlyList<string>> Heads(Corpus corpus, IReadOnlyList<Passage> queries, LayerScores heads)
    {
        yield return ["query", .. heads.Select(h => h.Parameters)];
        foreach (var (query, passage) in queries.Index())
        {
            double[] sums = [.. heads.Select(h => (double)h.Scores.Values[query].sum().item<float>())];
            yield return [corpus.Domains[passage.Domain].Name, .. sums.Select(sum => $"{sum / sums.Sum():0%}")];
        }
    }

    private static string Text(Passage passage)
    {
        var text = passage.ToString().ReplaceLineEndings(" ");
        return text.Length <= Shown ? text : $"{text[..(Shown - 3)]}...";
    }
}
