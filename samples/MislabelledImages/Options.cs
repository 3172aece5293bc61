using System.Globalization;

namespace MislabelledImages;

/// <summary>What the command line asks for.</summary>
internal sealed record Options
{
    public const string Usage = """
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

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        for (var i = 0; i < arguments.Count; i++)
        {
            // Both --seed 3 and --seed=3.
            var parts = arguments[i].Split('=', 2);
            var name = parts[0];
            options = name switch
            {
                "--data" => options with { Data = Text() },
                "--images" => options with { Images = Number(LabelledImages.ClassCount * 10) },
                "--epochs" => options with { Epochs = Number(1) },
                "--seed" => options with { Seed = Number(0) },
                "--output" => options with { Output = Text() },
                "--help" or "-h" => options with { Help = true },
                _ => throw new SampleException($"There is no option '{name}'. --help lists them.", exitCode: 2),
            };

            string Text()
            {
                var value = parts.Length == 2 ? parts[1] : i + 1 < arguments.Count ? arguments[++i] : string.Empty;
                return value.Length > 0
                    ? value
                    : throw new SampleException($"{name} needs a value. --help says which.", exitCode: 2);
            }

            int Number(int minimum)
            {
                var text = Text();
                var isNumber = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number);
                return isNumber && number >= minimum
                    ? number
                    : throw new SampleException($"{name} is a whole number of at least {minimum}, not '{text}'.", exitCode: 2);
            }
        }

        return options;
    }
}
