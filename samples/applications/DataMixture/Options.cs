namespace DataMixture;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Trains a small byte-level language model on a mixture of domains and judges it on two targets that are none of them.
            Compares mixtures of the same token budget: uniform, natural proportions, and three that group influence finds while
            the model trains, TiKMiX-D, TiKMiX-M and DoGE.

              --quick          shorter runs, two seeds, smaller measurements
              --seeds N        runs of each method  [3, quick 2]
              --seed N         the first run's seed  [1]
              --steps N        training steps of each run, 8 windows of 128 bytes a step  [1000, quick 250]
              --corpus FOLDER  your own texts: each .txt file a domain, and in its folder targets/ each .txt file a target
                               [Debian's packages]
              --help           show this text
            """;

    public bool Quick { get; private init; }

    public int Seeds
    {
        get => field == 0 ? (Quick ? 2 : 3) : field;
        private init;
    }

    public int Seed { get; private init; } = 1;

    public int Steps
    {
        get => field == 0 ? (Quick ? 250 : 1000) : field;
        private init;
    }

    /// <summary>The folder of one's own texts; null for the texts of Debian's packages.</summary>
    public string? Corpus { get; private init; }

    public bool Help { get; private init; }

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--quick" => options with { Quick = true },
                "--seeds" => options with { Seeds = reader.Number(1) },
                "--seed" => options with { Seed = reader.Number(0) },
                "--steps" => options with { Steps = reader.Number(100) },
                "--corpus" => options with { Corpus = reader.Text() },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }
}
