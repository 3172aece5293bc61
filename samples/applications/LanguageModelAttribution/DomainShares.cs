namespace LanguageModelAttribution;

/// <summary>How many of the strongest proponents are of the query's own domain, beside what chance would give.</summary>
internal sealed class DomainShares(Corpus corpus, IReadOnlyList<Query> queries, IReadOnlyList<Attribution> attributions)
{
    public IReadOnlyList<string> Methods { get; } = [.. attributions.Select(a => a.Method)];

    /// <summary>The domains of a query's strongest proponents, strongest first.</summary>
    public IReadOnlyList<int> Domains(int method, int query) =>
        [.. attributions[method].Top[query].Select(proponent => corpus.Train[(int)proponent.Id].Domain)];

    public double Own(int method, int query) =>
        Domains(method, query).Average(domain => domain == queries[query].Passage.Domain ? 1.0 : 0.0);

    /// <summary>The share that proponents drawn at random would have.</summary>
    public double Chance(int query) => corpus.ChanceOf(queries[query].Passage.Domain);

    /// <summary>What a query is called in tables and figures.</summary>
    public string Label(int query) => $"{query + 1}. {corpus.Domains[queries[query].Passage.Domain].Name}, {queries[query].Kind}";

    /// <summary>Each query, then the means: of the held-out passages, and of those that the model wrote.</summary>
    public IEnumerable<(string Label, IReadOnlyList<double> Own, double Chance)> Rows()
    {
        var all = Enumerable.Range(0, queries.Count).ToList();
        return
        [
            .. all.Select(query => Row(Label(query), [query])),
            .. all.GroupBy(query => queries[query].Kind).Select(group => Row($"mean, {group.Key}", [.. group])),
        ];

        (string, IReadOnlyList<double>, double) Row(string label, List<int> of) =>
            (label, [.. Methods.Select((_, method) => of.Average(query => Own(method, query)))], of.Average(Chance));
    }

    public IEnumerable<IReadOnlyList<string>> ToTable()
    {
        yield return [$"own domain among the top {Attribution.Counted}", .. Methods, "chance"];
        foreach (var (label, own, chance) in Rows())
        {
            yield return [label, .. own.Select(share => $"{share:0%}"), $"{chance:0%}"];
        }
    }
}
