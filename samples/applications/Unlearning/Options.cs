namespace UnlearningSample;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Makes small networks forget Fashion-MNIST images (a class, random ones, mislabelled ones) by each method of
            Influence.Unlearning, and compares them with networks that were trained without those images. Then a decoder
            that read some verses many times: what it recites, and what takes that out again.

              --data FOLDER    the folder with Fashion-MNIST's four .gz files  [/usr/share/datasets/fashion-mnist]
              --images N       how many training images to take, from the first  [5000]
              --epochs N       how often to pass over them in training  [5]
              --models N       models that each figure is a mean over; one more is for the choice of settings  [3]
              --set NAME       class, random or mislabelled images alone, or the texts  [all four]
              --runs FOLDER    where retrained models' losses are kept, so that a later call goes on  [unlearning-runs]
              --output FILE    where the tables go, as Markdown  [unlearning.md]
              --help           show this text
            """;

    public string Data { get; private init; } = "/usr/share/datasets/fashion-mnist";

    public int Images { get; private init; } = 5_000;

    public int Epochs { get; private init; } = 5;

    public int Models { get; private init; } = 3;

    public string? Set { get; private init; }

    public string Runs { get; private init; } = "unlearning-runs";

    public string Output { get; private init; } = "unlearning.md";

    public bool Help { get; private init; }

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--data" => options with { Data = reader.Text() },
                "--images" => options with { Images = reader.Number(LabelledImages.ClassCount * 20) },
                "--epochs" => options with { Epochs = reader.Number(1) },
                "--models" => options with { Models = reader.Number(2) },
                "--set" => options with { Set = reader.Text() },
                "--runs" => options with { Runs = reader.Text() },
                "--output" => options with { Output = reader.Text() },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }
}
