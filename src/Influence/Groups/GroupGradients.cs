using Influence.Curvature;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
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
    /// <param name="groups">The groups' names, for errors.</param>
    /// <param name="slots">The parts.</param>
    /// <param name="sum">Told a part and its sum <c>[P]</c>, which is finite and lives until it returns.</param>
    /// <exception cref="InfluenceException">A sum that is not finite; it names the examples at fault.</exception>
    public void Each(
        LossKind kind,
        Examples examples,
        IReadOnlyList<string> groups,
        IReadOnlyList<GroupSlot> slots,
        Action<int, Tensor> sum
    )
    {
        using var total = new GradientTotal(session, layout, kind);
        var (open, ids) = (-1, new List<long>());
        foreach (var (slot, batch) in Batches(examples, slots))
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
                var taken = total.Take(); // [P]
                using (Spans.Of("check: finite sums"))
                {
                    if (FiniteProducts.AnyNotFinite(taken))
                    {
                        ThrowNotFinite(kind, examples, groups[slots[open].Group], ids);
                    }
                }

                sum(open, taken);
                ids.Clear();
            }
        }
    }

    /// <summary>Batches that belong to one part each; see <see cref="GroupBatches"/>.</summary>
    public IEnumerable<(int Slot, ExampleBatch Batch)> Batches(Examples examples, IReadOnlyList<GroupSlot> slots) =>
        GroupBatches.Of(examples, slots, memoryBudget / 4);

    /// <summary>All sums, <c>[parts, P]</c>, in the current scope.</summary>
    public Tensor Sums(LossKind kind, Examples examples, IReadOnlyList<string> groups, IReadOnlyList<GroupSlot> slots)
    {
        var sums = zeros([slots.Count, layout.Length], layout.Dtype, layout.Device); // [S, P]
        Each(kind, examples, groups, slots, (slot, sum) => sums.select(0, slot).add_(sum));
        return sums;
    }

    /// <summary>The gradients of the parts' mean measurements, <c>[parts, P]</c>, in the current scope.</summary>
    public Tensor MeanMeasurements(Examples queries, IReadOnlyList<string> groups, IReadOnlyList<GroupSlot> slots)
    {
        var means = Sums(LossKind.Measurement, queries, groups, slots); // [S, P]
        for (var s = 0; s < slots.Count; s++)
        {
            using var scope = NewDisposeScope();
            means.select(0, s).div_(Kept(slots[s].Positions.Length));
        }

        return means;
    }

    /// <summary>Takes the gradients one by one, to name those at fault; all where only their sum is too large.</summary>
    private void ThrowNotFinite(LossKind kind, Examples examples, string group, List<long> ids)
    {
        using var total = new GradientTotal(session, layout, kind);
        var bad = new List<long>();
        foreach (var batch in examples.Only(ids).Batches())
        {
            for (var i = 0; i < batch.Count; i++)
            {
                reporter.Token.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                total.Add(batch.Pick([i]));
                if (FiniteProducts.AnyNotFinite(total.Take()))
                {
                    bad.Add(batch.Ids[i]);
                }
            }
        }

        IReadOnlyList<long> found = bad.Count > 0 ? bad : [.. ids];
        var what =
            kind == LossKind.Measurement
                ? $"measurement gradient of the query group \"{group}\""
                : $"gradient of examples of the group \"{group}\"";
        throw new InfluenceException(
            $"The summed {what} is NaN or too large for {layout.Dtype}, though the losses are finite. It is so because of the ids "
                + $"{InfluenceException.List(found)}: look at their inputs, leave them out, or use a float64 model."
        )
        {
            ExampleIds = found,
        };
    }
}
