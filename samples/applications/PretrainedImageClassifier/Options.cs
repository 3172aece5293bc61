namespace PretrainedImageClassifier;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Fine-tunes a pretrained ResNet-18 on Fashion-MNIST at 64 x 64 pixels with a tenth of the labels flipped, finds these
            again, and shows which training images its predictions come from.

              --data FOLDER    the folder with Fashion-MNIST's four .gz files  [/usr/share/datasets/fashion-mnist]
              --images N       how many training images to take, from the first  [2000]
              --test N         how many test images to take, from the first  [1000]
              --epochs N       how often to pass over them in training  [5]
              --train PART     head: only the last layer is trained; block: the last of the four stages too  [block]
              --seed N         decides which labels are flipped and how training goes  [1]
              --output FILE    where the page with the pictures goes  [pretrained-image-classifier.html]
              --check          only hold the network against ONNX Runtime, and end
              --help           show this text
            """;

    public string Data { get; private init; } = "/usr/share/datasets/fashion-mnist";

    public int Images { get; private init; } = 2000;

    public int Test { get; private init; } = 1000;

    public int Epochs { get; private init; } = 5;

    public bool HeadOnly { get; private init; }

    public int Seed { get; private init; } = 1;

    public string Output { get; private init; } = "pretrained-image-classifier.html";

    public bool Check { get; private init; }

    public bool Help { get; private init; }

    /// <summary>The share of the labels that are flipped.</summary>
    public static double FlippedShare => 0.1;

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
                "--test" => options with { Test = reader.Number(10) },
                "--epochs" => options with { Epochs = reader.Number(1) },
                "--train" => options with { HeadOnly = Part(reader.Text()) },
                "--seed" => options with { Seed = reader.Number(0) },
                "--output" => options with { Output = reader.Text() },
                "--check" => options with { Check = true },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }

    private static bool Part(string part) =>
        part switch
        {
            "head" => true,
            "block" => false,
            _ => throw new SampleException($"--train is head or block, not '{part}'.", 2),
        };
}
