using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>The predicted changes of the parameters when groups are re-weighted; the formulas of <see cref="GroupEffect"/>.</summary>
/// <param name="preconditioner">The fit.</param>
/// <param name="invert">P, on rows <c>[m, P]</c>.</param>
/// <param name="dampings">Those in P.</param>
/// <param name="sums">The groups' summed gradients.</param>
/// <param name="product">Of H; null where only the first order is wanted.</param>
/// <param name="highest">The highest order.</param>
/// <param name="reporter">Progress and cancellation.</param>
internal sealed class GroupSteps(
    Preconditioner preconditioner,
    Func<Tensor, Tensor> invert,
    IReadOnlyList<(string Block, double Damping)> dampings,
    GroupGradients sums,
    CurvatureProduct? product,
    GroupEffect.Expansion highest,
    ProgressReporter reporter
)
{
    /// <summary>One row a group, <c>[m, P]</c>, for each order; in the current scope.</summary>
    /// <param name="train">All examples.</param>
    /// <param name="groups">m groups.</param>
    /// <param name="weight">c.</param>
    public IReadOnlyList<(GroupEffect.Expansion Order, Tensor Steps)> Of(Examples train, ExampleGroups groups, double weight)
    {
        var slots = GroupPlan.Whole(groups, train).Slots;
        var changes = slots.Select(slot => new Reweighting(train.Count, slot.Positions.Length, weight)).ToArray();
        var gradients = sums.Sums(LossKind.Training, train, groups.Names, slots); // [m, P]
        gradients.mul_(Column(changes.Select(change => change.Step), gradients));
        var first = invert(gradients); // [m, P]
        CheckFinite(first, groups.Names);
        var found = new List<(GroupEffect.Expansion, Tensor)> { (GroupEffect.Expansion.First, first) };
        if (highest >= GroupEffect.Expansion.Second && product is not null)
        {
            found.Add((GroupEffect.Expansion.Second, Second(first, train, slots, changes, product)));
        }

        if (highest == GroupEffect.Expansion.Newton && product is not null && preconditioner is DenseCurvature dense)
        {
            var newton = new NewtonStep(dense, product, dampings[0].Damping);
            var rows = zeros_like(first); // [m, P]
            for (var g = 0; g < changes.Length; g++)
            {
                using var scope = NewDisposeScope();
                var slot = slots[g];
                rows.select(0, g)
                    .copy_(newton.Of(vectors => Own(vectors, train, [slot], product), gradients.select(0, g), changes[g].Change));
            }

            found.Add((GroupEffect.Expansion.Newton, rows));
        }

        return found;
    }

    /// <summary>d1 - r P (H - H_group) d1. A damping cancels in the difference, and an inverse that is not quite H's does little
    /// harm.</summary>
    private Tensor Second(Tensor first, Examples train, IReadOnlyList<GroupSlot> slots, Reweighting[] changes, CurvatureProduct curvature)
    {
        using var scope = NewDisposeScope();
        var difference = curvature.Over(train, first, reporter.Token, reporter.Add); // [m, P]
        using (var own = Own(first, train, slots, curvature)) // [m, P]
        {
            difference.sub_(own);
        }

        difference.mul_(Column(changes.Select(change => change.Change), first));
        return (first - invert(difference)).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// The products of the groups' mean curvatures, <c>[K, P]</c>, in the current scope. With several groups, each with its own row;
    /// with one, with all rows. Members are batched anew: their own batches may hold few of each group.
    /// </summary>
    private Tensor Own(Tensor vectors, Examples train, IReadOnlyList<GroupSlot> slots, CurvatureProduct curvature)
    {
        var products = zeros_like(vectors); // [K, P]
        foreach (var (slot, batch) in sums.Batches(train, slots))
        {
            using var scope = NewDisposeScope();
            curvature.Add(batch, Rows(vectors, slot), Rows(products, slot), reporter.Token);
            reporter.Add(batch.Count);
        }

        for (var s = 0; s < slots.Count; s++)
        {
            using var scope = NewDisposeScope();
            Rows(products, s).div_(Kept(slots[s].Positions.Length));
        }

        return products;

        Tensor Rows(Tensor all, int slot) => slots.Count == 1 ? all.alias() : all.narrow(0, slot, 1);
    }

    /// <summary>Before anything else is blamed for it.</summary>
    private void CheckFinite(Tensor steps, IReadOnlyList<string> names)
    {
        for (var g = 0; g < names.Count; g++)
        {
            using var scope = NewDisposeScope();
            if (FiniteProducts.AnyNotFinite(steps.select(0, g)))
            {
                throw new InfluenceException(
                    $"The predicted change of the parameters for the group \"{names[g]}\" is NaN or too large for {steps.dtype}, "
                        + "though its gradient is finite. Write more damping, or use a float64 model; found the damping "
                        + $"{InfluenceException.List([.. dampings.Select(d => d.Damping)])}."
                );
            }
        }
    }

    private static Tensor Column(IEnumerable<double> values, Tensor like) =>
        tensor(values.ToArray(), dtype: like.dtype, device: like.device).unsqueeze(1); // [m, 1]
}
