using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// One step of a linear estimator: query gradients are summed, averaged and preconditioned once, then the groups' examples
/// stream past them, part by part. A part's summed gradient lives until it is multiplied; no other is kept.
/// </summary>
internal sealed class GroupProducts(LinearStep step, long memoryBudget, ProgressReporter reporter)
{
    private readonly GroupGradients _gradients = new(step.Session, step.Layout, memoryBudget, reporter);

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
            var kept = Kept(queries, rows.Groups.Names, [.. rows.Slots.Skip(first).Take(atOnce)]); // [K, P]
            Stream(values, first, kept, train, plan, rows);
        }
    }

    /// <summary>The mean measurement's gradient of each part, preconditioned, <c>[K, P]</c>.</summary>
    private Tensor Kept(Examples queries, IReadOnlyList<string> names, IReadOnlyList<GroupSlot> rows)
    {
        using var scope = NewDisposeScope();
        return step.Apply(_gradients.MeanMeasurements(queries, names, rows)).MoveToOuterDisposeScope();
    }

    private void Stream(double[,] values, int first, Tensor kept, Examples train, GroupPlan plan, GroupPlan rows) =>
        _gradients.Each(
            LossKind.Training,
            train,
            plan.Groups.Names,
            plan.Slots,
            (slot, sum) =>
            {
                using var span = Spans.Of("products of a part");
                var products = kept.mv(sum).cpu().to_type(ScalarType.Float64).data<double>().ToArray(); // [K]
                for (var k = 0; k < products.Length; k++)
                {
                    if (!double.IsFinite(products[k]))
                    {
                        throw new InfluenceException(
                            $"The influence of the group \"{plan.Groups.Names[plan.Slots[slot].Group]}\" on the query group "
                                + $"\"{rows.Groups.Names[rows.Slots[first + k].Group]}\" is NaN or too large for {step.Layout.Dtype}, "
                                + "though the gradients of both are finite. Write more damping, or use a float64 model."
                        );
                    }

                    values[slot, first + k] += step.Weight * products[k];
                }
            }
        );
}
