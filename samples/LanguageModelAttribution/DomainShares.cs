namespace LanguageModelAttribution;

/// <summary>How many of the strongest proponents are of the query's own domain, beside what chance would give.</summary>
internal sealed class DomainShares(Corpus corpus, IReadOnlyList<Query> queries, IReadOnlyList<Attribution> attributions)
{
    public IReadOnlyList<Query> Queries => queries;

    public IReadOnlyList<string> Methods { get; } = [.. attributions.Select(a => a.Method)];

    /// <summary>The domains of a query's strongest proponents, strongest first.</summary>
    public IReadOnlyList<int> Domains(int method, int query) =>
        [.. attributions[method].Top[query].Select(proponent => corpus.Train[(int)proponent.Id].Domain)];

    public double Own(int method, int query) =>
        Domains(method, query).Average(domain => domain == queries[query].Passage.Domain ? 1.0 : 0.0);

    public double MeanOwn(int method) => Enumerable.Range(0, queries.Count).Average(query => Own(method, query));

    /// <summary>The share that proponents drawn at random would have.</summary>
    public double Chance(int query) => corpus.ChanceOf(queries[query].Passage.Domain);

    public double MeanChance => Enumerable.Range(0, queries.Count).Average(Chance);

    /// <summary>What a query is called in tables and figures.</summary>
    public string Label(int query) => $"{query + 1}. {corpus.Domains[queries[query].Passage.Domain].Name}, {queries[query].Kind}";

    public IEnumerable<IReadOnlyList<string>> ToTable()
    {
        yield return [$"own domain among the top {Attribution.Counted}", .. Methods, "chance"];
        for (var query = 0; query < queries.Count; query++)
        {
            yield return [Label(query), .. Methods.Select((_, method) => $"{Own(method, query):0%}"), $"{Chance(query):0%}"];
        }

        yield return ["mean", .. Methods.Select((_, method) => $"{MeanOwn(method):0%}"), $"{MeanChance:0%}"];
    }
}
