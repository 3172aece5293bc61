using System.CommandLine;

namespace DataMixture;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<bool> s_quick = Setting.Switch("--quick", "shorter runs, two seeds, smaller measurements");
    private static readonly Option<bool> s_searches = Setting.Switch(
        "--searches",
        "also Skill-It, and mixtures found by trial trainings: RegMix, CLIMB, ScaleBiO; several times as long"
    );
    private static readonly Option<int?> s_seeds = Setting.OptionalNumber("--seeds", "runs of each method [3, quick 2]", least: 1);
    private static readonly Option<int> s_seed = Setting.Number("--seed", "the first run's seed", 1, least: 0);
    private static readonly Option<int?> s_steps = Setting.OptionalNumber(
        "--steps",
        "training steps of each run, 8 windows of 128 bytes a step [1000, quick 250]",
        least: 100
    );
    private static readonly Option<string?> s_corpus = Setting.OptionalText(
        "--corpus",
        "FOLDER",
        "your own texts: each .txt file a domain, and in its folder targets/ each .txt file a target [Debian's packages]"
    );

    public static RootCommand Command { get; } =
        new(
            """
            Trains a small byte-level language model on a mixture of domains and judges it on two targets that are none of them.
            Compares mixtures of the same token budget: uniform, natural proportions, and three that group influence finds while
            the model trains, TiKMiX-D, TiKMiX-M and DoGE.
            """
        )
        {
            s_quick,
            s_searches,
            s_seeds,
            s_seed,
            s_steps,
            s_corpus,
        };

    public bool Quick => given.GetValue(s_quick);

    public bool Searches => given.GetValue(s_searches);

    public int Seeds => given.GetValue(s_seeds) ?? (Quick ? 2 : 3);

    public int Seed => given.GetRequiredValue(s_seed);

    public int Steps => given.GetValue(s_steps) ?? (Quick ? 250 : 1000);

    /// <summary>The folder of one's own texts; null for the texts of Debian's packages.</summary>
    public string? Corpus => given.GetValue(s_corpus);

    public static Options Of(ParseResult given) => new(given);
}
