namespace Samples.Language;

/// <summary>Passages of every domain, as many of each: those to train on, and those held out.</summary>
internal sealed class Corpus
{
    /// <summary>Shorter texts say too little to be explained.</summary>
    private const int FewestBytes = 64;

    private Corpus(IReadOnlyList<Domain> domains, IReadOnlyList<Passage> train, IReadOnlyList<Passage> heldOut)
    {
        Domains = domains;
        Train = train;
        HeldOut = heldOut;
    }

    public IReadOnlyList<Domain> Domains { get; }

    /// <summary>The training passages; a passage's position is its id.</summary>
    public IReadOnlyList<Passage> Train { get; }

    public IReadOnlyList<Passage> HeldOut { get; }

    /// <summary>The share of a domain among the training passages: how often a passage drawn at random is of that domain.</summary>
    public double ChanceOf(int domain) => (double)Train.Count(passage => passage.Domain == domain) / Train.Count;

    public static Corpus Read(IReadOnlyList<Domain> domains, int passagesPerDomain, int seed, int heldOutPerDomain = 20)
    {
        var (train, heldOut) = (new List<Passage>(), new List<Passage>());
        foreach (var (index, domain) in domains.Index())
        {
            // The beginning of each text, so that no text is cut in two of which one half is held out; each text once.
            var passages = domain
                .Read()
                .Select(text => Passage.FromText(index, text))
                .Where(passage => passage.Bytes.Length >= FewestBytes)
                .DistinctBy(passage => passage.ToString())
                .ToArray();
            var needed = passagesPerDomain + heldOutPerDomain;
            if (passages.Length < needed)
            {
                throw new SampleException(
                    $"{domain.Name} ({domain.Source}) has {passages.Length:N0} different texts of at least {FewestBytes} bytes; "
                        + $"{needed:N0} are needed, {heldOutPerDomain} of them held out. Ask for fewer: --passages N."
                );
            }

            Randomness.For(seed, $"passages of {domain.Name}").Shuffle(passages);
            train.AddRange(passages[..passagesPerDomain]);
            heldOut.AddRange(passages[passagesPerDomain..needed]);
        }

        return new Corpus(domains, train, heldOut);
    }

    /// <summary>The domains, how much of each is trained on, and where it comes from.</summary>
    public IEnumerable<IReadOnlyList<string>> ToTable()
    {
        yield return ["domain", "source", "passages", "bytes", "held out"];
        foreach (var (index, domain) in Domains.Index())
        {
            var train = Train.Where(passage => passage.Domain == index).ToList();
            yield return
            [
                domain.Name,
                domain.Source,
                $"{train.Count:N0}",
                $"{train.Sum(passage => passage.Bytes.Length):N0}",
                $"{HeldOut.Count(passage => passage.Domain == index):N0}",
            ];
        }
    }
}
