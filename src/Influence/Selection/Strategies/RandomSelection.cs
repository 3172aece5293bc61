namespace Influence.Selection;

/// <summary>Candidates drawn at random, all alike: the baseline that every other strategy has to beat.</summary>
/// <remarks>
/// Reads nothing but ids. A smaller budget gives the first part of what a larger one gives with the same seed. Cost: one
/// sort. The utility of a pick is the number in (0, 1) that was drawn for it.
/// </remarks>
public sealed record RandomSelection : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "random";

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var keys = new double[pool.Count];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = run.Uniform("random", i);
        }

        picks.AddInOrder(Relevance.Descending(keys), keys);
    }
}
