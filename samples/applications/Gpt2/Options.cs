using System.CommandLine;

namespace Gpt2;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    /// <summary>Passages of each domain that are asked about.</summary>
    public const int QueriesOfADomain = 3;

    private static readonly Option<int> s_passages = Setting.Number("--passages", "training passages of each domain", 200, least: 10);
    private static readonly Option<int> s_epochs = Setting.Number("--epochs", "how often to pass over them in training", 8, least: 1);
    private static readonly Option<int> s_seed = Setting.Number(
        "--seed",
        "decides which passages are taken and how training goes",
        1,
        least: 0
    );
    private static readonly Option<string?> s_output = Setting.OptionalText(
        "--output",
        "FOLDER",
        "where the checkpoint goes [a temporary one]"
    );

    public static RootCommand Command { get; } =
        new(
            """
            Trains a small GPT-2 (Hugging Face's names, one token a byte) on three domains of text, saves it as sharded safetensors and
            loads it, lets it write greedily, and says which training passages, and which heads, made it write so. Then adapts it by LoRA to
            two more domains, and says the same of the adaptation.
            """
        )
        {
            s_passages,
            s_epochs,
            s_seed,
            s_output,
        };

    public int Passages => given.GetRequiredValue(s_passages);

    public int Epochs => given.GetRequiredValue(s_epochs);

    public int Seed => given.GetRequiredValue(s_seed);

    /// <summary>The checkpoint's folder; null for one that goes away.</summary>
    public string? Output => given.GetValue(s_output);

    public static Options Of(ParseResult given) => new(given);
}
