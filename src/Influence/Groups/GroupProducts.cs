using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// One step of a linear estimator: query gradients are summed, averaged and preconditioned once, then the groups' examples
/// stream past them, part by part. A part's summed gradient lives until it is multiplied; no other is kept.
/// </summary>
internal sealed class GroupProducts(LinearStep step, long memoryBudget, ProgressReporter reporter)
{
    /// <summary>Adds the step's weight times every product.</summary>
    /// <param name="values"><c>[parts, n]</c>.</param>
    /// <param name="train">Training examples.</param>
    /// <param name="plan">Their parts.</param>
    /// <param name="queries">Queries.</param>
    /// <param name="rows">n parts of them, one a row.</param>
    public void Add(double[,] values, Examples train, GroupPlan plan, Examples queries, GroupPlan rows)
    {
        // Beside each kept row lies the one that it was made from.
        var vector = 2.0 * step.Layout.Length * step.Session.Dtype.ElementSize();
        var atOnce = (int)Math.Clamp(memoryBudget / vector, 1, rows.Slots.Count);
        reporter.ExpectPasses((rows.Slots.Count + atOnce - 1) / atOnce);
        for (var first = 0; first < rows.Slots.Count; first += atOnce)
        {
            using var scope = NewDisposeScope();
            var kept = Means(queries, [.. rows.Slots.Skip(first).Take(atOnce)]);        // [K, P]
            Stream(values, first, kept, train, plan);
        }
    }

    /// <summary>The mean measurement's gradient of each part, preconditioned, <c>[K, P]</c>.</summary>
    private Tensor Means(Examples queries, IReadOnlyList<GroupSlot> rows)
    {
        using var scope = NewDisposeScope();
        var means = zeros([rows.Count, step.Layout.Length], step.Layout.Dtype, step.Layout.Device);   // [K, P]
        EachSum(queries, rows, LossKind.Measurement, (row, sum, _) => means.select(0, row).add_(sum, 1.0 / rows[row].Positions.Length), _ => { });
        return step.Apply(means).MoveToOuterDisposeScope();
    }

    private void Stream(double[,] values, int first, Tensor kept, Examples train, GroupPlan plan) => EachSum(
        train,
        plan.Slots,
        LossKind.Training,
        (slot, sum, ids) =>
        {
            var products = kept.mv(sum).cpu().to_type(ScalarType.Float64).data<double>().ToArray();   // [K]
            for (var k = 0; k < products.Length; k++)
            {
                if (!double.IsFinite(products[k]))
                {
                    throw new InfluenceException(
                        $"The summed gradient of examples of the group \"{plan.Groups.Names[plan.Slots[slot].Group]}\" is NaN or too large for {step.Layout.Dtype}, though the losses " +
                        $"are finite. Among them are the ids {InfluenceException.List(ids)}: look at their inputs, leave them out, or use a float64 model.")
                    {
                        ExampleIds = [.. ids],
                    };
                }

                values[slot, first + k] += step.Weight * products[k];
            }
        },
        reporter.Add);

    /// <summary>Sums gradients part by part. A part may come in several pieces.</summary>
    private void EachSum(Examples examples, IReadOnlyList<GroupSlot> slots, LossKind kind, Action<int, Tensor, List<long>> sum, Action<int> progress)
    {
        using var total = new GradientTotal(step.Session, step.Layout, kind);
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
            progress(batch.Count);
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
}
