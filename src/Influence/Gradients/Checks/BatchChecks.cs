namespace Influence.Gradients;

/// <summary>
/// The checks of a run's batches that cost a second backward pass: of every batch with a shape or a flag that none had before, and of
/// as many others as <see cref="CheckBudget"/> allows. Beside them every batch is checked for in-place writes, for uses of a weight past
/// its layer and for its numbers of rows, which costs next to nothing.
/// </summary>
/// <param name="hooks">The model.</param>
internal sealed class BatchChecks(LayerHooks hooks) : IDisposable
{
    private readonly BatchNovelty _novelty = new();
    private readonly CheckBudget _budget = CheckBudget.Of(hooks.Task);
    private readonly IDisposable _running = CheckBudget.Of(hooks.Task).Running();
    private long _seed;

    /// <summary>The batches that were taken without it.</summary>
    public int Unchecked { get; private set; }

    /// <summary>Whether a batch is to be checked, or else counted as unchecked. The rows of an example alone are its own.</summary>
    public bool IsDue(ExampleBatch batch, LossKind kind)
    {
        if (batch.Count == 1)
        {
            return false;
        }

        var isDue = _novelty.IsNew(batch, kind) || _budget.Allows;
        Unchecked += isDue ? 0 : 1;
        return isDue;
    }

    /// <summary>The layers whose rows are not the examples' own in order.</summary>
    /// <exception cref="InfluenceException">The model mixes the examples.</exception>
    public List<TrackedLayer> ForeignRows(CaptureTrace trace, ExampleBatch batch, LossKind kind) =>
        _budget.Charge(() =>
        {
            var found = trace.WithForeignRows(batch, ++_seed);
            LoneLosses.Check(
                hooks,
                batch,
                kind,
                LayerHooks.Values(trace.Losses),
                found.Count > 0 ? Math.Min(batch.Count, LoneLosses.Most) : 1
            );
            return found;
        });

    /// <summary>The same in a mode in which losses may be random.</summary>
    public List<TrackedLayer> ForeignRows(CaptureTrace trace, ExampleBatch batch, GraphAfter graph) =>
        _budget.Charge(() => trace.WithForeignRows(batch, ++_seed, graph));

    public void Dispose() => _running.Dispose();
}
