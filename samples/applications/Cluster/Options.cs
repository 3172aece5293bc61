namespace Cluster;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Fits EK-FAC on a small byte-level language model and scores its training passages for ten that were held out, by any
            number of processes that share a folder: those of a Slurm array, of srun, of an indexed job of Kubernetes, or one.
            Each begins where its starter says, takes units that nobody is at, and returns the whole result.

              --train          train the model and write it to the folder; once, before the others
              --folder FOLDER  the shared folder  [cluster]
              --run NAME       a folder inside it for this run's units and scores  [run]
              --corpus FOLDER  your own texts: each .txt file a domain, passages parted by lines with %  [Debian's packages]
              --passages N     training passages of each domain  [40]
              --seed N         decides which passages are taken and how training goes  [1]
              --help           show this text
            """;

    public bool Train { get; private init; }

    public string Folder { get; private init; } = "cluster";

    public string Run { get; private init; } = "run";

    /// <summary>The folder of one's own texts; null for the texts of Debian's packages.</summary>
    public string? Corpus { get; private init; }

    public int Passages { get; private init; } = 40;

    public int Seed { get; private init; } = 1;

    public bool Help { get; private init; }

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--train" => options with { Train = true },
                "--folder" => options with { Folder = reader.Text() },
                "--run" => options with { Run = reader.Text() },
                "--corpus" => options with { Corpus = reader.Text() },
                "--passages" => options with { Passages = reader.Number(10) },
                "--seed" => options with { Seed = reader.Number(0) },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }
}
