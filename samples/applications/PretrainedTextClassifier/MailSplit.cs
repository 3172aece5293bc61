namespace PretrainedTextClassifier;

/// <summary>Mails drawn from every part of the corpus by fixed shares: half of them spam, a tenth hard ham.</summary>
/// <param name="Train">For training; some of their labels are flipped.</param>
/// <param name="Clean">Looked at by hand, as it were: their labels are right, and no model is trained on them.</param>
/// <param name="Target">Hard ham, for choosing.</param>
/// <param name="Test">For the figures.</param>
/// <param name="HardTest">Hard ham, for the figures.</param>
internal sealed record MailSplit(
    IReadOnlyList<Mail> Train,
    IReadOnlyList<Mail> Clean,
    IReadOnlyList<Mail> Target,
    IReadOnlyList<Mail> Test,
    IReadOnlyList<Mail> HardTest
)
{
    private const int CleanCount = 60;
    private const int TargetCount = 30;
    private const int TestCount = 200;
    private const int HardTestCount = 60;

    private static readonly Dictionary<string, double> Shares = new()
    {
        ["easy-ham-1"] = 0.2,
        ["easy-ham-2"] = 0.2,
        [Mail.HardHam] = 0.1,
        ["spam-1"] = 0.25,
        ["spam-2"] = 0.25,
    };

    public static MailSplit Draw(string folder, int train, int seed)
    {
        var piles = SpamAssassin.Sources.ToDictionary(
            source => source,
            source =>
            {
                var mails = SpamAssassin.Read(folder, source).ToArray();
                Randomness.For(seed, source).Shuffle(mails);
                return new Queue<Mail>(mails);
            }
        );
        var split = new MailSplit(
            All(train, "train"),
            All(CleanCount, "clean"),
            Hard(TargetCount),
            All(TestCount, "test"),
            Hard(HardTestCount)
        );
        return split;

        List<Mail> All(int count, string purpose)
        {
            var drawn = Shares.SelectMany(share => Take(share.Key, (int)Math.Round(share.Value * count))).ToArray();
            Randomness.For(seed, $"order of {purpose}").Shuffle(drawn);
            return [.. drawn];
        }

        List<Mail> Hard(int count) => Take(Mail.HardHam, count);

        List<Mail> Take(string source, int count) =>
            piles[source].Count >= count
                ? [.. Enumerable.Range(0, count).Select(_ => piles[source].Dequeue())]
                : throw new SampleException($"The corpus' part {source} has too few mails for --mails {train}. Ask for fewer.");
    }

    /// <summary>The labels with some flipped at random.</summary>
    public (IReadOnlyList<long> Given, IReadOnlyList<long> Flipped) FlipLabels(double share, int seed)
    {
        var given = Train.Select(mail => mail.Label).ToArray();
        var positions = Enumerable.Range(0, given.Length).ToArray();
        Randomness.For(seed, "flipped labels").Shuffle(positions);
        var flipped = positions.Take((int)Math.Round(share * given.Length)).Order().ToList();
        flipped.ForEach(i => given[i] = 1 - given[i]);
        return (given, [.. flipped.Select(i => (long)i)]);
    }
}
