using System.CommandLine;

namespace UnlearningSample;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<string> s_data = Setting.Text(
        "--data",
        "FOLDER",
        "the folder with Fashion-MNIST's four .gz files",
        "/usr/share/datasets/fashion-mnist"
    );
    private static readonly Option<int> s_images = Setting.Number(
        "--images",
        "how many training images to take, from the first",
        5_000,
        least: LabelledImages.ClassCount * 20
    );
    private static readonly Option<int> s_epochs = Setting.Number("--epochs", "how often to pass over them in training", 5, least: 1);
    private static readonly Option<int> s_models = Setting.Number(
        "--models",
        "models that each figure is a mean over; one more is for the choice of settings",
        3,
        least: 2
    );
    private static readonly Option<string> s_set = Setting.OneOf(
        "--set",
        "class, random or mislabelled images alone, one book among texts, verses that were read many times, or what is memorised of mislabelled images",
        "all",
        "class",
        "random",
        "mislabelled",
        "book",
        "verses",
        "memorised"
    );
    private static readonly Option<int> s_bank = Setting.Number("--bank", "models in the bank of what is memorised", 80, least: 40);
    private static readonly Option<string?> s_only = Setting.OptionalText("--only", "NAME", "methods whose name has this in it [all]");
    private static readonly Option<string> s_runs = Setting.Text(
        "--runs",
        "FOLDER",
        "where retrained models' losses are kept, so that a later call goes on",
        "unlearning-runs"
    );
    private static readonly Option<string> s_output = Setting.Text("--output", "FILE", "where the tables go, as Markdown", "unlearning.md");

    public static RootCommand Command { get; } =
        new(
            """
            Makes small networks forget Fashion-MNIST images (a class, random ones, mislabelled ones), and a decoder one book, by
            each method of Influence.Unlearning, and compares them with networks that were trained without these. Then a
            decoder that read some verses many times: what it recites, and what takes that out again.
            """
        )
        {
            s_data,
            s_images,
            s_epochs,
            s_models,
            s_set,
            s_only,
            s_bank,
            s_runs,
            s_output,
        };

    public string Data => given.GetRequiredValue(s_data);

    public int Images => given.GetRequiredValue(s_images);

    public int Epochs => given.GetRequiredValue(s_epochs);

    public int Models => given.GetRequiredValue(s_models);

    /// <summary>One set alone; null for all.</summary>
    public string? Set => given.GetRequiredValue(s_set) is var set and not "all" ? set : null;

    /// <summary>Methods whose name has this in it; null for all.</summary>
    public string? Only => given.GetValue(s_only);

    public int Bank => given.GetRequiredValue(s_bank);

    public string Runs => given.GetRequiredValue(s_runs);

    public string Output => given.GetRequiredValue(s_output);

    public static Options Of(ParseResult given) => new(given);
}
