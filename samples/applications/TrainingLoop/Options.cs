using System.CommandLine;

namespace TrainingLoop;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<bool> s_quick = Setting.Switch("--quick", "shorter runs, two seeds");
    private static readonly Option<int?> s_seeds = Setting.OptionalNumber("--seeds", "runs in each way [3, quick 2]", least: 1);
    private static readonly Option<int> s_seed = Setting.Number("--seed", "the first run's seed", 1, least: 0);
    private static readonly Option<string> s_part = Setting.OneOf("--part", "images or texts only", "both", "images", "texts");
    private static readonly Option<string> s_data = Setting.Text(
        "--data",
        "FOLDER",
        "the folder with Fashion-MNIST's four .gz files",
        "/usr/share/datasets/fashion-mnist"
    );
    private static readonly Option<string> s_output = Setting.Text("--output", "FOLDER", "where the data maps go", "training-loop");

    public static RootCommand Command { get; } =
        new(
            """
            Trains on noisy data in several ways: plainly, with weights from the losses, on the best half of each batch, and, for
            texts, by a mixture of sources that follows in-run values. Images: Fashion-MNIST, a fifth of the labels flipped. Texts: a
            byte-level language model of three languages from careful and careless sources. One plain run is recorded as it goes, to
            find the noise again and to draw a data map.
            """
        )
        {
            s_quick,
            s_seeds,
            s_seed,
            s_part,
            s_data,
            s_output,
        };

    public bool Quick => given.GetValue(s_quick);

    public int Seeds => given.GetValue(s_seeds) ?? (Quick ? 2 : 3);

    public int Seed => given.GetRequiredValue(s_seed);

    public string Part => given.GetRequiredValue(s_part);

    public string Data => given.GetRequiredValue(s_data);

    public string Output => given.GetRequiredValue(s_output);

    public static Options Of(ParseResult given) => new(given);
}
