using System.CommandLine;

namespace PretrainedImageClassifier;

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
        2000,
        least: LabelledImages.ClassCount * 10
    );
    private static readonly Option<int> s_test = Setting.Number("--test", "how many test images to take, from the first", 1000, least: 10);
    private static readonly Option<int> s_epochs = Setting.Number("--epochs", "how often to pass over them in training", 5, least: 1);
    private static readonly Option<string> s_train = Setting.OneOf(
        "--train",
        "head: only the last layer is trained; block: the last of the four stages too",
        "block",
        "head"
    );
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
        "pretrained-image-classifier.html"
    );
    private static readonly Option<bool> s_check = Setting.Switch("--check", "only hold the network against ONNX Runtime, and end");

    public static RootCommand Command { get; } =
        new(
            """
            Fine-tunes a pretrained ResNet-18 on Fashion-MNIST at 64 x 64 pixels with a tenth of the labels flipped, finds these
            again, and shows which training images its predictions come from.
            """
        )
        {
            s_data,
            s_images,
            s_test,
            s_epochs,
            s_train,
            s_seed,
            s_output,
            s_check,
        };

    public string Data => given.GetRequiredValue(s_data);

    public int Images => given.GetRequiredValue(s_images);

    public int Test => given.GetRequiredValue(s_test);

    public int Epochs => given.GetRequiredValue(s_epochs);

    public bool HeadOnly => given.GetRequiredValue(s_train) == "head";

    public int Seed => given.GetRequiredValue(s_seed);

    public string Output => given.GetRequiredValue(s_output);

    public bool Check => given.GetValue(s_check);

    /// <summary>The share of the labels that are flipped.</summary>
    public static double FlippedShare => 0.1;

    public static Options Of(ParseResult given) => new(given);
}
