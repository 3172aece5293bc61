namespace Gpt2;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Trains a small GPT-2 (Hugging Face's names, one token a byte) on three domains of text, saves it as sharded safetensors and
            loads it, lets it write greedily, and says which training passages, and which heads, made it write so. Then adapts it by LoRA to
            two more domains, and says the same of the adaptation.

              --passages N     training passages of each domain  [200]
              --epochs N       how often to pass over them in training  [8]
              --seed N         decides which passages are taken and how training goes  [1]
              --output FOLDER  where the checkpoint goes  [a temporary one]
              --help           show this text
            """;

    public int Passages { get; private init; } = 200;

    public int Epochs { get; private init; } = 8;

    public int Seed { get; private init; } = 1;

    /// <summary>The checkpoint's folder; null for one that goes away.</summary>
    public string? Output { get; private init; }

    public bool Help { get; private init; }

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--passages" => options with { Passages = reader.Number(10) },
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
