namespace PretrainedTextClassifier;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Fine-tunes a pretrained sentence encoder (all-MiniLM-L6-v2, 22 million parameters) to tell spam from ham, with a tenth
            of the labels flipped, and asks the library about it: which labels are wrong, which mails a prediction comes from and by
            which words, which tenth is best for hard ham, and what leaving out one source of mails would do.

              --data FOLDER    the folder with the corpus' parts, easy-ham-1 and so on  [artifacts/data/spam-assassin]
              --mails N        how many training mails to take  [1000]
              --length N       how many pieces of a mail's beginning are read  [64]
              --epochs N       how often to pass over them in training  [3]
              --tuning KIND    all: every parameter is trained; lora: corrections of rank 8 and the head  [all]
              --seed N         decides which mails are taken, which labels are flipped and how training goes  [1]
              --retrain 0|1    whether to train again without the source of most influence, to see whether it is so  [1]
              --output FILE    where the page with the mails goes  [pretrained-text-classifier.html]
              --check          only hold the encoder against ONNX Runtime, and end
              --help           show this text
            """;

    public string Data { get; private init; } = "artifacts/data/spam-assassin";

    public int Mails { get; private init; } = 1000;

    public int Length { get; private init; } = 64;

    public int Epochs { get; private init; } = 3;

    public bool Lora { get; private init; }

    public int Seed { get; private init; } = 1;

    public bool Retrain { get; private init; } = true;

    public string Output { get; private init; } = "pretrained-text-classifier.html";

    public bool Check { get; private init; }

    public bool Help { get; private init; }

    /// <summary>The share of the labels that are flipped.</summary>
    public static double FlippedShare => 0.1;

    public static int LoraRank => 8;

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--data" => options with { Data = reader.Text() },
                "--mails" => options with { Mails = reader.Number(100) },
                "--length" => options with { Length = Math.Min(reader.Number(8), MiniLm.Positions) },
                "--epochs" => options with { Epochs = reader.Number(1) },
                "--tuning" => options with { Lora = Tuning(reader.Text()) },
                "--seed" => options with { Seed = reader.Number(0) },
                "--retrain" => options with { Retrain = reader.Number(0) > 0 },
                "--output" => options with { Output = reader.Text() },
                "--check" => options with { Check = true },
                "--help" or "-h" => options with { Help = true },
                _ => throw reader.Unknown(),
            };
        }

        return options;
    }

    private static bool Tuning(string kind) =>
        kind switch
        {
            "all" => false,
            "lora" => true,
            _ => throw new SampleException($"--tuning is all or lora, not '{kind}'.", 2),
        };
}
