using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// The core of a set to forget: examples that an isolation forest takes for outliers of the set are left out, so that unlearning the rest
/// does less damage elsewhere. Give it the examples to forget as the pool, hidden states of the last position as features, and 90 percent
/// as the budget.
/// </summary>
/// <remarks>
/// What is picked is what lies deepest among the others; a pick's utility is minus its outlier score. It reads no scores. Cost:
/// <see cref="Trees"/> trees over <see cref="SampleSize"/> candidates, and every candidate through each. Reference: Patil et al., "UPCORE:
/// Utility-Preserving Coreset Selection for Balanced Unlearning", 2025 (contamination 0.1).
/// </remarks>
public sealed record Upcore : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "UPCORE";

    /// <summary>The number of trees.</summary>
    /// <value>100.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Trees
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100;

    /// <summary>Candidates that a tree is grown on.</summary>
    /// <value>256.</value>
    /// <exception cref="InfluenceException">Less than 2.</exception>
    public int SampleSize
    {
        get;
        init => field = Check.AtLeast(value, 2);
    } = 256;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsFeatures(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var scope = NewDisposeScope();
        var flat = FeatureBlocks.ToDoubles(pool.Features!.contiguous());
        var width = flat.Length / pool.Count;
        double[][] rows = [.. Enumerable.Range(0, pool.Count).Select(i => flat[(i * width)..((i + 1) * width)])];
        var worth = Array.ConvertAll(IsolationForest.Scores(rows, Trees, SampleSize, Seed, run.CancellationToken), score => -score);
        picks.AddInOrder(Relevance.Descending(worth), worth);
    }
}
