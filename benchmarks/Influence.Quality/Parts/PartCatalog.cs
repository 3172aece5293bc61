namespace Influence.Quality.Parts;

/// <summary>The parts, in the order in which they run.</summary>
internal static class PartCatalog
{
    public static IReadOnlyList<Part> All { get; } =
    [
        new("t1", "logistic regression on MNIST, 5,000 training examples and 500 queries", LogisticRegression.Run),
    ];
}
