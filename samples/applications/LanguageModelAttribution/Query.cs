namespace LanguageModelAttribution;

/// <summary>A passage that is to be explained.</summary>
/// <param name="Passage">The passage.</param>
/// <param name="GivenBytes">How many bytes at its beginning are not explained: 1, or the prompt that the model continued.</param>
internal sealed record Query(Passage Passage, int GivenBytes)
{
    private const int Count = 10;
    private const int PromptBytes = 24;

    public bool IsGenerated => GivenBytes > 1;

    public string Kind => IsGenerated ? "written by the model" : "held out";

    /// <summary>One held-out passage of each domain, then passages that the model wrote, domain after domain.</summary>
    public static IReadOnlyList<Query> Choose(Corpus corpus, ByteDecoder model, int seed) =>
        [.. Enumerable.Range(0, Count).Select(i => Choose(corpus, model, seed, i))];

    private static Query Choose(Corpus corpus, ByteDecoder model, int seed, int index)
    {
        // Each domain's held-out passages in their order: the first is a query as it is, the next begins a generated one.
        var (round, domain) = Math.DivRem(index, corpus.Domains.Count);
        var passage = corpus.HeldOut.Where(p => p.Domain == domain).ElementAt(round);
        if (round == 0)
        {
            return new Query(passage, GivenBytes: 1);
        }

        var prompt = passage.Characters().TakeWhile(c => c.Start + c.Length <= PromptBytes).Sum(c => c.Length);
        var random = Randomness.For(seed, $"generated passage {index}");
        return new Query(Generator.Continue(model, passage with { Bytes = passage.Bytes[..prompt] }, random), prompt);
    }
}
