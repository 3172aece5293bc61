using Influence.Selection;

namespace SelectBestTenth;

/// <summary>What a strategy compares images by.</summary>
internal enum ComparedBy
{
    Nothing,
    Picture,
    Gradient,
}

/// <summary>A strategy in the contest.</summary>
/// <param name="Strategy">With its settings.</param>
/// <param name="Compares">The features that it is given.</param>
/// <param name="ByClass">Whether it is given the classes of the labels as groups.</param>
internal sealed record Contender(SelectionStrategy Strategy, ComparedBy Compares = ComparedBy.Nothing, bool ByClass = false)
{
    /// <summary>Whether it puts metrics together, influence and loss, instead of reading influence on each image of the target.</summary>
    public bool ByMetrics { get; init; }

    /// <summary>The name in the table, where the strategy's own does not say enough.</summary>
    public string? Label { get; init; }

    public string Name => Label ?? Strategy.Name;
}
