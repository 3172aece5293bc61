using System.CommandLine;

namespace LanguageModelAttribution;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<string?> s_corpus = Setting.OptionalText(
        "--corpus",
        "FOLDER",
        "your own texts: each .txt file a domain, passages parted by lines with % [Debian's packages]"
    );
    private static readonly Option<int> s_passages = Setting.Number("--passages", "training passages of each domain", 400, least: 10);
    private static readonly Option<int> s_epochs = Setting.Number("--epochs", "how often to pass over them in training", 4, least: 1);
    private static readonly Option<int> s_seed = Setting.Number(
        "--seed",
        "decides which passages are taken and how training goes",
        1,
        least: 0
    );
    private static readonly Option<string> s_output = Setting.Text(
        "--output",
        "FILE",
        "where the page goes",
        "language-model-attribution.html"
    );

    public static RootCommand Command { get; } =
        new(
            """
            Trains a small byte-level language model on texts of several domains, then says for ten passages, held out or
            written by the model, which training passages, and which tokens in them, made them likely: by EK-FAC influence and
            by TracIn, side by side on one page.
            """
        )
        {
            s_corpus,
            s_passages,
            s_epochs,
            s_seed,
            s_output,
        };

    /// <summary>The folder of one's own texts; null for the texts of Debian's packages.</summary>
    public string? Corpus => given.GetValue(s_corpus);

    public int Passages => given.GetRequiredValue(s_passages);

    public int Epochs => given.GetRequiredValue(s_epochs);

    public int Seed => given.GetRequiredValue(s_seed);

    public string Output => given.GetRequiredValue(s_output);

    public static Options Of(ParseResult given) => new(given);
}
