namespace SelectBestTenth;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Picks a tenth of a pool by each strategy, trains on it, and says how well the target is met. Images: a pool of
            Fashion-MNIST of which few images are of the target's classes and nearly a third are mislabelled. Texts: a pool of
            passages of several domains of which Quad measures only some, against measuring them all.

              --data FOLDER    the folder with Fashion-MNIST's four .gz files  [/usr/share/datasets/fashion-mnist]
              --images N       how many images the pool has  [20000]
              --passages N     how many passages of each domain the pool of texts has  [400]
              --seeds N        how many times a model is trained on each pick  [3]
              --seed N         decides which images are in the pool, which labels are flipped and how training goes  [1]
              --quick          a pool of 8000 images, 200 passages of each domain and two seeds
              --part NAME      images or texts only  [both]
              --help           show this text
            """;

    public string Data { get; private init; } = "/usr/share/datasets/fashion-mnist";

    public int Images { get; private init; } = 20_000;

    public int Passages { get; private init; } = 400;

    public int Seeds { get; private init; } = 3;

    public int Seed { get; private init; } = 1;

    public string Part { get; private init; } = "both";

    public bool Help { get; private init; }

    /// <summary>The share of the pool that is picked.</summary>
    public static double Share => 0.1;

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--data" => options with { Data = reader.Text() },
                "--images" => options with { Images = reader.Number(1000) },
                "--passages" => options with { Passages = reader.Number(100) },
                "--seeds" => options with { Seeds = reader.Number(1) },
                "--seed" => options with { Seed = reader.Number(0) },
                "--quick" => options with { Images = 8000, Passages = 200, Seeds = 2 },
                "--part" => options with { Part = PartOf(reader.Text()) },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }

    private static string PartOf(string text) =>
        text is "images" or "texts" ? text : throw new SampleException($"--part is images or texts, not '{text}'.", 2);
}
