using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Finds the positions of each example that the loss depends on, so that padding is no part of what is averaged over positions. Padding
/// reaches no loss: the gradients of all layers' outputs are exactly zero there. A unit that happens to be off in one layer says nothing
/// of a position, so a position counts as soon as any layer over as many positions has a gradient there. One layer alone cannot tell
/// padding from its own structure (a causal query at the first position has one key, and no gradient): there every position counts, but for
/// a <see cref="InfluenceTask.PositionMask"/>.
/// </summary>
internal static class ReachedPositions
{
    /// <summary>Lays what was found on the calls, beside a mask of the user's; nothing where every position is reached.</summary>
    /// <param name="calls">What each layer saw in one batch.</param>
    public static void Mark(IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls)
    {
        var byLength = calls
            .Where(pair => pair.Key.Rule.PositionsLead)
            .SelectMany(pair => pair.Value.Select((call, i) => (Calls: pair.Value, Index: i, Call: call)))
            .GroupBy(c => c.Call.OutputGradient.numel() / c.Call.OutputGradient.shape[^1] / c.Call.Examples);

        // Where there is one position only, a gradient of zero is the example's, and not padding.
        foreach (var layers in byLength.Where(group => group.Key > 1 && group.DistinctBy(c => c.Calls).Skip(1).Any()))
        {
            if (Reached([.. layers.Select(c => c.Call)]) is { } reached)
            {
                foreach (var (of, index, call) in layers)
                {
                    of[index] = call with { Mask = call.Mask is { } given ? given.to_type(ScalarType.Bool).logical_and(reached) : reached };
                }
            }
        }
    }

    /// <summary><c>[B, T]</c>; null where all are reached. The last layers come first: they usually settle it.</summary>
    private static Tensor? Reached(List<LayerCall> calls)
    {
        Tensor? reached = null;
        for (var i = calls.Count - 1; i >= 0; i--)
        {
            var own = calls[i].ByPosition(calls[i].OutputGradient).ne(Kept(0)).any(2); // [B, T]
            reached = reached is null ? own : reached.logical_or_(own);
            if (reached.all().item<bool>())
            {
                return null;
            }
        }

        return reached;
    }
}
