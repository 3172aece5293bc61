using System.CommandLine;

namespace Cluster;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<bool> s_train = Setting.Switch(
        "--train",
        "train the model and write it to the folder; once, before the others"
    );
    private static readonly Option<string> s_folder = Setting.Text("--folder", "FOLDER", "the shared folder", "cluster");
    private static readonly Option<string> s_run = Setting.Text(
        "--run",
        "NAME",
        "a folder inside it for this run's units and scores",
        "run"
    );
    private static readonly Option<string?> s_corpus = Setting.OptionalText(
        "--corpus",
        "FOLDER",
        "your own texts: each .txt file a domain, passages parted by lines with % [Debian's packages]"
    );
    private static readonly Option<int> s_passages = Setting.Number("--passages", "training passages of each domain", 40, least: 10);
    private static readonly Option<int> s_seed = Setting.Number(
        "--seed",
        "decides which passages are taken and how training goes",
        1,
        least: 0
    );

    public static RootCommand Command { get; } =
        new(
            """
            Fits EK-FAC on a small byte-level language model and scores its training passages for ten that were held out, by any
            number of processes that share a folder: those of a Slurm array, of srun, of an indexed job of Kubernetes, or one.
            Each begins where its starter says, takes units that nobody is at, and returns the whole result.
            """
        )
        {
            s_train,
            s_folder,
            s_run,
            s_corpus,
            s_passages,
            s_seed,
        };

    public bool Train => given.GetValue(s_train);

    public string Folder => given.GetRequiredValue(s_folder);

    public string Run => given.GetRequiredValue(s_run);

    /// <summary>The folder of one's own texts; null for the texts of Debian's packages.</summary>
    public string? Corpus => given.GetValue(s_corpus);

    public int Passages => given.GetRequiredValue(s_passages);

    public int Seed => given.GetRequiredValue(s_seed);

    public static Options Of(ParseResult given) => new(given);
}
