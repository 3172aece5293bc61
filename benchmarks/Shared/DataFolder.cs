namespace Influence.Benchmarks.Shared;

/// <summary>Where data lie: beside the program when they were carried along with it, else where Debian puts them.</summary>
internal sealed record DataFolder(string FashionMnist, string Text)
{
    private const string DebianFashionMnist = "/usr/share/datasets/fashion-mnist";
    private const string DebianText = "/usr/share/common-licenses";

    public static DataFolder Find()
    {
        var carried = Path.Combine(AppContext.BaseDirectory, "data");
        return new DataFolder(
            Pick(Path.Combine(carried, "fashion-mnist"), DebianFashionMnist),
            Pick(Path.Combine(carried, "text"), DebianText)
        );
    }

    private static string Pick(string carried, string installed) => Directory.Exists(carried) ? carried : installed;
}
