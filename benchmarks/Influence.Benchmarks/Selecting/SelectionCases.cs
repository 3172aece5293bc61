using Influence.Selection;

namespace Influence.Benchmarks.Selecting;

/// <summary>What is measured.</summary>
/// <param name="Key">Its name on the command line.</param>
/// <param name="Title">With its settings.</param>
/// <param name="Run">Does it once; returns how many were picked, or clusters made.</param>
internal sealed record SelectionCase(string Key, string Title, Func<SyntheticPool, int> Run);

/// <summary>Add a strategy here, and it is measured at every size.</summary>
internal static class SelectionCases
{
    private const int Few = 1000;

    public static IReadOnlyList<SelectionCase> All { get; } =
    [
        Tenth("top-k", "top-k, a tenth", _ => new TopK()),
        new(
            "k-means",
            "k-means, 256 clusters",
            data =>
            {
                using var clusters = new KMeans(256).Fit(data.Pool.Features!);
                return clusters.Count;
            }
        ),
        Thousand("k-center", "k-center, 1,000", _ => new KCenter()),
        Thousand("mmr", "MMR, 1,000", _ => new Mmr()),
        Tenth("quad", "Quad's bandit, a tenth", data => new Quad { Oracle = data.Measure }),
        Tenth("bids", "BIDS, a tenth", _ => new Bids()),
        Thousand(
            "facility-stochastic",
            "facility location, stochastic, 1,000",
            _ => new FacilityLocation { Method = FacilityLocation.Kind.Stochastic }
        ),
        Tenth(
            "facility-clusters",
            "facility location, lazy in clusters, a tenth",
            _ => new FacilityLocation { Method = FacilityLocation.Kind.Lazy }
        ),
        Tenth("relevant-diverse", "relevant and diverse, a tenth", _ => new RelevantAndDiverse()),
    ];

    private static SelectionCase Tenth(string key, string title, Func<SyntheticPool, SelectionStrategy> strategy) =>
        new(key, title, data => strategy(data).Select(data.Pool, SelectionBudget.Fraction(0.1)).Count);

    private static SelectionCase Thousand(string key, string title, Func<SyntheticPool, SelectionStrategy> strategy) =>
        new(key, title, data => strategy(data).Select(data.Pool, SelectionBudget.Count(Few)).Count);
}
