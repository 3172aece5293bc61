using Influence;

namespace DataMixture;

/// <summary>Every domain cut into windows of 128 bytes: those to train on, and for each target those to measure by and those to judge
/// by.</summary>
internal sealed class MixtureCorpus
{
    /// <summary>Of each target: enough to measure by, and four times as many to judge by.</summary>
    private const int MeasuredWindows = 64;
    private const int JudgedWindows = 256;

    private MixtureCorpus(
        IReadOnlyList<Domain> domains,
        IReadOnlyList<Domain> targets,
        IReadOnlyList<Passage> train,
        IReadOnlyList<Passage> measured,
        IReadOnlyList<Passage> judged
    )
    {
        (Domains, Targets, Train, Measured, Judged) = (domains, targets, train, measured, judged);
        Groups = ExampleGroups.Of([.. train.Index().Select(p => (long)p.Index)], [.. train.Select(p => domains[p.Domain].Name)]);
    }

    public IReadOnlyList<Domain> Domains { get; }

    public IReadOnlyList<Domain> Targets { get; }

    /// <summary>The training windows; a window's position is its id.</summary>
    public IReadOnlyList<Passage> Train { get; }

    /// <summary>The domains' windows.</summary>
    public ExampleGroups Groups { get; }

    /// <summary>The targets' windows that mixtures are found by; a passage's domain is the target.</summary>
    public IReadOnlyList<Passage> Measured { get; }

    /// <summary>The targets' windows that models are judged by; nothing else sees them.</summary>
    public IReadOnlyList<Passage> Judged { get; }

    public static MixtureCorpus Read(IReadOnlyList<Domain> domains, IReadOnlyList<Domain> targets, int seed)
    {
        var (measured, judged) = (new List<Passage>(), new List<Passage>());
        foreach (var (index, target) in targets.Index())
        {
            var windows = Passage.WindowsOf(index, target.Read()).ToArray();
            var needed = MeasuredWindows + JudgedWindows;
            if (windows.Length < needed)
            {
                throw new SampleException(
                    $"The target {target.Name} ({target.Source}) has {windows.Length:N0} windows of {Passage.MostBytes} bytes; {needed} "
                        + "are needed."
                );
            }

            Randomness.For(seed, $"windows of {target.Name}").Shuffle(windows);
            measured.AddRange(windows[..MeasuredWindows]);
            judged.AddRange(windows[MeasuredWindows..needed]);
        }

        return new MixtureCorpus(
            domains,
            targets,
            [.. domains.Index().SelectMany(d => Passage.WindowsOf(d.Index, d.Item.Read()))],
            measured,
            judged
        );
    }

    /// <summary>What there is of each domain and where it comes from.</summary>
    public IEnumerable<IReadOnlyList<string>> ToTable()
    {
        yield return ["", "source", "bytes", "share"];
        foreach (var (index, domain) in Domains.Index())
        {
            var windows = Train.Count(p => p.Domain == index);
            yield return [domain.Name, domain.Source, $"{(long)windows * Passage.MostBytes:N0}", $"{(double)windows / Train.Count:0.0%}"];
        }

        foreach (var target in Targets)
        {
            yield return
            [
                $"target: {target.Name}",
                target.Source,
                $"{MeasuredWindows * Passage.MostBytes:N0} + {JudgedWindows * Passage.MostBytes:N0}",
                "0.0%",
            ];
        }
    }
}
