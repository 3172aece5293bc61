namespace MislabelledImages;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Finds mislabelled images in Fashion-MNIST: flips a tenth of the labels, trains a small network on them, and ranks
            the images by self-influence (TracIn over the checkpoints of that training).

              --data FOLDER    the folder with Fashion-MNIST's four .gz files  [/usr/share/datasets/fashion-mnist]
              --images N       how many training images to take, from the first  [10000]
              --epochs N       how often to pass over them in training  [5]
              --seed N         decides which labels are flipped and how training goes  [1]
              --output FILE    where the page with the pictures goes  [mislabelled-images.html]
              --help           show this text
            """;

    public string Data { get; private init; } = "/usr/share/datasets/fashion-mnist";

    public int Images { get; private init; } = 10_000;

    public int Epochs { get; private init; } = 5;

    public int Seed { get; private init; } = 1;

    public string Output { get; private init; } = "mislabelled-images.html";

    public bool Help { get; private init; }

    /// <summary>The share of the labels that are flipped.</summary>
    public static double FlippedShare => 0.1;

    /// <summary>The most suspects on the page.</summary>
    public static int Suspects => 10_000;

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--data" => options with { Data = reader.Text() },
                "--images" => options with { Images = reader.Number(LabelledImages.ClassCount * 10) },
                "--epochs" => options with { Epochs = reader.Number(1) },
                "--seed" => options with { Seed = reader.Number(0) },
                "--output" => options with { Output = reader.Text() },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }
}
