using System.CommandLine;

namespace MislabelledImages;

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
        10_000,
        least: LabelledImages.ClassCount * 10
    );
    private static readonly Option<int> s_epochs = Setting.Number("--epochs", "how often to pass over them in training", 5, least: 1);
    private static readonly Option<int> s_seed = Setting.Number(
        "--seed",
        "decides which labels are flipped and how training goes",
        1,
        least: 0
    );
    private static readonly Option<string> s_output = Setting.Text(
        "--output",
        "FILE",
        "where the page with the pictures goes",
        "mislabelled-images.html"
    );

    public static RootCommand Command { get; } =
        new(
            """
            Finds mislabelled images in Fashion-MNIST: flips a tenth of the labels, trains a small network on them, and ranks
            the images by self-influence (TracIn over the checkpoints of that training).
            """
        )
        {
            s_data,
            s_images,
            s_epochs,
            s_seed,
            s_output,
        };

    public string Data => given.GetRequiredValue(s_data);

    public int Images => given.GetRequiredValue(s_images);

    public int Epochs => given.GetRequiredValue(s_epochs);

    public int Seed => given.GetRequiredValue(s_seed);

    public string Output => given.GetRequiredValue(s_output);

    /// <summary>The share of the labels that are flipped.</summary>
    public static double FlippedShare => 0.1;

    /// <summary>The most suspects on the page.</summary>
    public static int Suspects => 10_000;

    public static Options Of(ParseResult given) => new(given);
}
