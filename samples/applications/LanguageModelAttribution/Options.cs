namespace LanguageModelAttribution;

/// <summary>What the command line asks for.</summary>
internal sealed record Options : ICommandOptions<Options>
{
    public static string Usage =>
        """
            Trains a small byte-level language model on texts of several domains, then says for ten passages, held out or
            written by the model, which training passages, and which tokens in them, made them likely: by EK-FAC influence and
            by TracIn, side by side on one page.

              --corpus FOLDER  your own texts: each .txt file a domain, passages parted by lines with %  [Debian's packages]
              --passages N     training passages of each domain  [400]
              --epochs N       how often to pass over them in training  [4]
              --seed N         decides which passages are taken and how training goes  [1]
              --output FILE    where the page goes  [language-model-attribution.html]
              --help           show this text
            """;

    /// <summary>The folder of one's own texts; null for the texts of Debian's packages.</summary>
    public string? Corpus { get; private init; }

    public int Passages { get; private init; } = 400;

    public int Epochs { get; private init; } = 4;

    public int Seed { get; private init; } = 1;

    public string Output { get; private init; } = "language-model-attribution.html";

    public bool Help { get; private init; }

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var options = new Options();
        var reader = new OptionReader(arguments);
        while (reader.Read())
        {
            options = reader.Name switch
            {
                "--corpus" => options with { Corpus = reader.Text() },
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
