using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>The summed gradient of each part of a plan.</summary>
/// <param name="session">An open session.</param>
/// <param name="layout">The order of the parameters.</param>
/// <param name="memoryBudget">Bytes; a quarter is for examples that wait.</param>
/// <param name="reporter">Told of training examples; its token is checked between batches.</param>
internal sealed class GroupGradients(GradientSession session, ParameterVector layout, long memoryBudget, ProgressReporter reporter)
{
    /// <summary>Sums gradients part by part. A part may come in several pieces.</summary>
    /// <param name="kind">Which loss.</param>
    /// <param name="examples">All examples.</param>
    /// <param name="slots">The parts.</param>
    /// <param name="sum">Told a part, its sum <c>[P]</c> and the ids in it; the sum lives until it returns.</param>
    public void Each(LossKind kind, Examples examples, IReadOnlyList<GroupSlot> slots, Action<int, Tensor, List<long>> sum)
    {
        using var total = new GradientTotal(session, layout, kind);
        var (open, ids) = (-1, new List<long>());
        foreach (var (slot, batch) in GroupBatches.Of(examples, slots, memoryBudget / 4))
        {
            reporter.Token.ThrowIfCancellationRequested();
            if (slot != open)
            {
                Close();
            }

            open = slot;
            ids.AddRange(batch.Ids);
            total.Add(batch);
            if (kind == LossKind.Training)
            {
                reporter.Add(batch.Count);
            }
        }

        Close();

        void Close()
        {
            if (open >= 0)
            {
                using var scope = NewDisposeScope();
                sum(open, total.Take(), ids);
                ids.Clear();
            }
        }
    }

    /// <summary>All sums, <c>[parts, P]</c>, in the current scope.</summary>
    public Tensor Sums(LossKind kind, Examples examples, IReadOnlyList<GroupSlot> slots)
    {
        var sums = zeros([slots.Count, layout.Length], layout.Dtype, layout.Device);    // [S, P]
        Each(kind, examples, slots, (slot, sum, _) => sums.select(0, slot).add_(sum));
        return sums;
    }

    /// <summary>The gradients of the parts' mean measurements, <c>[parts, P]</c>, in the current scope.</summary>
    public Tensor MeanMeasurements(Examples queries, IReadOnlyList<GroupSlot> slots)
    {
        var means = Sums(LossKind.Measurement, queries, slots);                         // [S, P]
        for (var s = 0; s < slots.Count; s++)
        {
            using var scope = NewDisposeScope();
            means.select(0, s).div_(slots[s].Positions.Length);
        }

        return means;
    }
}
