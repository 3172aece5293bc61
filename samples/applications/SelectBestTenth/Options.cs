using System.CommandLine;

namespace SelectBestTenth;

/// <summary>What the command line asks for.</summary>
internal sealed class Options(ParseResult given) : ICommandOptions<Options>
{
    private static readonly Option<string> s_data = Setting.Text(
        "--data",
        "FOLDER",
        "the folder with Fashion-MNIST's four .gz files",
        "/usr/share/datasets/fashion-mnist"
    );
    private static readonly Option<int?> s_images = Setting.OptionalNumber(
        "--images",
        "how many images the pool has [20000, quick 8000]",
        least: 1000
    );
    private static readonly Option<int?> s_passages = Setting.OptionalNumber(
        "--passages",
        "how many passages of each domain the pool of texts has [400, quick 200]",
        least: 100
    );
    private static readonly Option<int> s_repeated = Setting.Number(
        "--repeated",
        "how often each passage is in the pool of texts, for a larger one than the texts give",
        1,
        least: 1
    );
    private static readonly Option<int?> s_seeds = Setting.OptionalNumber(
        "--seeds",
        "how many times a model is trained on each pick; of texts 0 for the picks alone [3, quick 2]",
        least: 0
    );
    private static readonly Option<int> s_seed = Setting.Number(
        "--seed",
        "decides which images are in the pool, which labels are flipped and how training goes",
        1,
        least: 0
    );
    private static readonly Option<bool> s_quick = Setting.Switch("--quick", "smaller pools and two seeds");
    private static readonly Option<string> s_part = Setting.OneOf(
        "--part",
        "images or texts only; or staged: choices that are made anew during training, and orders, on texts; or recommender: DEALRec",
        "both",
        "images",
        "texts",
        "staged",
        "recommender"
    );

    public static RootCommand Command { get; } =
        new(
            """
            Picks a tenth of a pool by each strategy, trains on it, and says how well the target is met. Images: a pool of
            Fashion-MNIST of which few images are of the target's classes and nearly a third are mislabelled. Texts: a pool of
            passages of several domains of which Quad measures only some, against measuring them all. Staged: MATES,
            AttentionInfluence, folding and curricula beside a random choice and order, at equal steps. Recommender: DEALRec on
            invented clicks of users.
            """
        )
        {
            s_data,
            s_images,
            s_passages,
            s_repeated,
            s_seeds,
            s_seed,
            s_quick,
            s_part,
        };

    public string Data => given.GetRequiredValue(s_data);

    public int Images => given.GetValue(s_images) ?? (Quick ? 8000 : 20_000);

    public int Passages => given.GetValue(s_passages) ?? (Quick ? 200 : 400);

    public int Repeated => given.GetRequiredValue(s_repeated);

    public int Seeds => given.GetValue(s_seeds) ?? (Quick ? 2 : 3);

    public int Seed => given.GetRequiredValue(s_seed);

    public string Part => given.GetRequiredValue(s_part);

    /// <summary>The share of the pool that is picked.</summary>
    public static double Share => 0.1;

    private bool Quick => given.GetValue(s_quick);

    public static Options Of(ParseResult given) => new(given);
}
