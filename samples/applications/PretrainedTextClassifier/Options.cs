using System.CommandLine;

namespace PretrainedTextClassifier;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<string> s_data = Setting.Text(
        "--data",
        "FOLDER",
        "the folder with the corpus' parts, easy-ham-1 and so on",
        "artifacts/data/spam-assassin"
    );
    private static readonly Option<int> s_mails = Setting.Number("--mails", "how many training mails to take", 1000, least: 100);
    private static readonly Option<int> s_length = Setting.Number(
        "--length",
        "how many pieces of a mail's beginning are read",
        64,
        least: 8
    );
    private static readonly Option<int> s_epochs = Setting.Number("--epochs", "how often to pass over them in training", 3, least: 1);
    private static readonly Option<string> s_tuning = Setting.OneOf(
        "--tuning",
        "all: every parameter is trained; lora: corrections of rank 8 and the head",
        "all",
        "lora"
    );
    private static readonly Option<int> s_seed = Setting.Number(
        "--seed",
        "decides which mails are taken, which labels are flipped and how training goes",
        1,
        least: 0
    );
    private static readonly Option<string> s_retrain = Setting.OneOf(
        "--retrain",
        "whether to train again without each source of mails, to see whether it does what is predicted",
        "1",
        "0"
    );
    private static readonly Option<string> s_output = Setting.Text(
        "--output",
        "FILE",
        "where the page with the mails goes",
        "pretrained-text-classifier.html"
    );
    private static readonly Option<bool> s_check = Setting.Switch("--check", "only hold the encoder against ONNX Runtime, and end");

    public static RootCommand Command { get; } =
        new(
            """
            Fine-tunes a pretrained sentence encoder (all-MiniLM-L6-v2, 22 million parameters) to tell spam from ham, with a tenth
            of the labels flipped, and asks the library about it: which labels are wrong, which mails a prediction comes from and by
            which words, which tenth is best for hard ham, and what leaving out one source of mails would do.
            """
        )
        {
            s_data,
            s_mails,
            s_length,
            s_epochs,
            s_tuning,
            s_seed,
            s_retrain,
            s_output,
            s_check,
        };

    public string Data => given.GetRequiredValue(s_data);

    public int Mails => given.GetRequiredValue(s_mails);

    public int Length => Math.Min(given.GetRequiredValue(s_length), MiniLm.Positions);

    public int Epochs => given.GetRequiredValue(s_epochs);

    public bool Lora => given.GetRequiredValue(s_tuning) == "lora";

    public int Seed => given.GetRequiredValue(s_seed);

    public bool Retrain => given.GetRequiredValue(s_retrain) == "1";

    public string Output => given.GetRequiredValue(s_output);

    public bool Check => given.GetValue(s_check);

    /// <summary>The share of the labels that are flipped.</summary>
    public static double FlippedShare => 0.1;

    public static int LoraRank => 8;

    public static Options Of(ParseResult given) => new(given);
}
