namespace TrainingLoop;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Trains on noisy data in several ways: plainly, with weights from the losses, on the best half of each batch, and, for
            texts, by a mixture of sources that follows in-run values. Images: Fashion-MNIST, a fifth of the labels flipped. Texts: a
            byte-level language model of three languages from careful and careless sources. One plain run is recorded as it goes, to
            find the noise again and to draw a data map.

              --quick          shorter runs, two seeds
              --seeds N        runs in each way  [3, quick 2]
              --seed N         the first run's seed  [1]
              --part NAME      images or texts only  [both]
              --data FOLDER    the folder with Fashion-MNIST's four .gz files  [/usr/share/datasets/fashion-mnist]
              --output FOLDER  where the data maps go  [training-loop]
              --help           show this text
            """;

    public bool Quick { get; private init; }

    public int Seeds
    {
        get => field == 0 ? (Quick ? 2 : 3) : field;
        private init;
    }

    public int Seed { get; private init; } = 1;

    public string Part { get; private init; } = "both";

    public string Data { get; private init; } = "/usr/share/datasets/fashion-mnist";

    public string Output { get; private init; } = "training-loop";

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
                "--part" => options with { Part = PartOf(reader.Text()) },
                "--data" => options with { Data = reader.Text() },
                "--output" => options with { Output = reader.Text() },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }

    private static string PartOf(string text) =>
        text is "images" or "texts" ? text : throw new SampleException($"--part is images or texts, not '{text}'.", 2);
}
