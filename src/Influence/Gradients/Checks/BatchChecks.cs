using Influence.Numerics;

namespace Influence.Gradients;

/// <summary>
/// The checks of a run's batches that cost a second backward pass: of every batch with a shape or a flag that none had before, and of
/// as many others as <see cref="CheckBudget"/> allows. Beside them every batch is checked for in-place writes, for uses of a weight past
/// its layer and for its numbers of rows, which costs next to nothing.
/// </summary>
/// <param name="hooks">The model.</param>
/// <param name="before">The batches that earlier calls checked, which are not checked again at the same weights; null: none.</param>
internal sealed class BatchChecks(LayerHooks hooks, CheckedBatches? before = null) : IDisposable
{
    private readonly BatchNovelty _novelty = new();
    private readonly CheckBudget _budget = CheckBudget.Of(hooks.Task);
    private readonly IDisposable _running = CheckBudget.Of(hooks.Task).Running();
    private IReadOnlyList<int> _news = [];
    private ulong? _key;
    private ulong? _weights;
    private long _seed;

    /// <summary>The batches that were taken without it.</summary>
    public int Unchecked { get; private set; }

    /// <summary>Whether a batch is to be checked, or else counted as unchecked. The rows of an example alone are its own.</summary>
    public bool IsDue(ExampleBatch batch, LossKind kind)
    {
        (_news, _key) = ([], null);
        if (batch.Count == 1 || hooks.Task.WithoutChecks)
        {
            return false;
        }

        var news = _novelty.News(batch, kind);
        _news = news ?? [];
        if (news is null && !_budget.Allows)
        {
            Unchecked++;
            return false;
        }

        // Asked only where a check would cost more than the question.
        _key = before is null ? null : CheckedBatches.KeyOf(_weights ??= CheckedBatches.WeightsOf(hooks.Task.Model), batch, kind);
        return _key is not { } key || !before!.Contains(key);
    }

    /// <summary>Whether a batch that is not due, since it was checked before, gave other losses, or other rows, than it gave then: then it
    /// is due.</summary>
    public bool IsAnother(CaptureTrace trace)
    {
        using var span = Spans.Of("check: did it give the same");
        return _key is { } key && !before!.GaveThese(key, trace);
    }

    /// <summary>The layers whose rows are not the examples' own in order, of the batch that was last asked about.</summary>
    /// <exception cref="InfluenceException">The model mixes the examples.</exception>
    public List<TrackedLayer> ForeignRows(CaptureTrace trace, ExampleBatch batch, LossKind kind) =>
        _budget.Charge(() =>
        {
            using var span = Spans.Of("check: rows");
            var found = trace.WithForeignRows(batch, ++_seed);
            var losses = LayerHooks.Values(trace.Losses);
            if (found.Count > 0)
            {
                LoneLosses.Check(hooks, batch, kind, losses, Math.Min(batch.Count, LoneLosses.Most));
            }

            using (Spans.Of("check: mixed losses"))
            {
                LoneLosses.CheckParts(hooks, batch, kind, losses, _news, _seed);
            }

            if (found.Count == 0 && _key is { } key)
            {
                before!.Add(key, trace);
            }

            return found;
        });

    /// <summary>The same in a mode in which losses may be random.</summary>
    public List<TrackedLayer> ForeignRows(CaptureTrace trace, ExampleBatch batch, GraphAfter graph) =>
        _budget.Charge(() =>
        {
            using var span = Spans.Of("check: rows");
            return trace.WithForeignRows(batch, ++_seed, graph);
        });

    public void Dispose() => _running.Dispose();
}
