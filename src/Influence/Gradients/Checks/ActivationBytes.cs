using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// How many examples a pass takes at once, so that what the model keeps for its backward pass fits a budget. One example of each shape is
/// run forward and its tensors are counted; a batch of no larger shapes that fits by that count is taken as it is. The count follows
/// from shapes alone, so that every process and every run cuts alike.
/// </summary>
/// <param name="hooks">The model.</param>
/// <param name="budget">Bytes that one batch's activations may take.</param>
/// <param name="known">What was counted before on this task.</param>
internal sealed class ActivationBytes(LayerHooks hooks, MemoryBudget budget, List<ActivationBytes.Counted> known)
{
    /// <summary>How many of a batch's examples may be captured at once; at least one.</summary>
    /// <param name="batch">Examples.</param>
    /// <param name="kind">The delegate that they are captured under; other labels take the same memory.</param>
    public int ExamplesAtOnce(ExampleBatch batch, LossKind kind)
    {
        if (batch.Count <= 1)
        {
            return 1;
        }

        kind = kind == LossKind.Sampled ? LossKind.Training : kind;
        long[][] shapes = [.. batch.Tensors.Select(t => t.shape[1..])];
        if (known.Any(one => one.Kind == kind && Covers(one.Shapes, shapes) && one.Bytes * batch.Count <= budget))
        {
            return batch.Count;
        }

        var bytes = known.Find(one => one.Kind == kind && Covers(one.Shapes, shapes) && Covers(shapes, one.Shapes))?.Bytes;
        if (bytes is null)
        {
            bytes = Count(batch, kind);
            known.Add(new Counted(kind, shapes, bytes.Value));
        }

        return (int)Math.Clamp(budget / Math.Max(1, bytes.Value), 1, int.MaxValue / 2);
    }

    /// <summary>The first examples of a batch, as many as fit; two of two or more, which is the least that an audit can compare.</summary>
    public ExampleBatch Fitting(ExampleBatch batch, LossKind kind)
    {
        var most = Math.Max(2, ExamplesAtOnce(batch, kind));
        return batch.Count <= most ? batch : batch.Pick([.. Enumerable.Range(0, most)]);
    }

    private static bool Covers(long[][] larger, long[][] shapes) =>
        larger.Length == shapes.Length
        && larger
            .Zip(shapes)
            .All(pair => pair.First.Length == pair.Second.Length && pair.First.Zip(pair.Second).All(d => d.First >= d.Second));

    /// <summary>Bytes of one example; 0 where it cannot be run, which the audit says in its words.</summary>
    private long Count(ExampleBatch batch, LossKind kind)
    {
        using var scope = NewDisposeScope();
        try
        {
            return hooks.KeptBytes(batch.Pick([0]), kind);
        }
        catch (InfluenceException)
        {
            return 0;
        }
    }

    /// <summary>What was counted of one example.</summary>
    /// <param name="Kind">Under which delegate.</param>
    /// <param name="Shapes">Of its tensors.</param>
    /// <param name="Bytes">What a pass keeps.</param>
    internal sealed record Counted(LossKind Kind, long[][] Shapes, long Bytes);
}
