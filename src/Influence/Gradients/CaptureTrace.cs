using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What one forward and one backward pass left at the watched layers; its tensors live in the pass's scope.</summary>
/// <param name="layers">The layers that saw something, in a fixed order.</param>
/// <param name="losses">The losses, <c>[B]</c>.</param>
/// <param name="gradients">Of the summed losses, for every call of every layer.</param>
/// <param name="leaves">The same for the tensors that were asked for beside; null where unused.</param>
/// <param name="usedElsewhere">Parameters that the losses depend on past their layers.</param>
internal sealed class CaptureTrace(
    IReadOnlyList<TrackedLayer> layers,
    Tensor losses,
    Tensor?[] gradients,
    Tensor?[] leaves,
    IReadOnlyList<ModelParameter> usedElsewhere
)
{
    /// <summary>About how many numbers of a layer's outputs a signature holds, or four of each of its rows where those are more.</summary>
    private const long SignatureNumbers = 1 << 12;

    public Tensor Losses => losses;

    public IReadOnlyList<Tensor?> Leaves => leaves;

    public IReadOnlyList<ModelParameter> UsedElsewhere => usedElsewhere;

    public IReadOnlyList<TrackedLayer> Layers => layers;

    /// <summary>What each layer saw, calls that the losses do not depend on left out.</summary>
    /// <param name="all">The layers that get an entry.</param>
    /// <param name="mask">Optional <c>[B, T]</c>: positions that do not count are cleared.</param>
    /// <param name="keepTaps">Whether the outputs are kept with the calls.</param>
    public Dictionary<TrackedLayer, List<LayerCall>> Calls(IEnumerable<TrackedLayer> all, Tensor? mask, bool keepTaps = false)
    {
        var calls = all.ToDictionary(layer => layer, _ => new List<LayerCall>());
        ForEach((layer, start) => calls[layer] = layer.CallsWith(gradients.AsSpan(start, layer.Calls), mask, keepTaps));
        return calls;
    }

    /// <summary>The layers that did not see the same number of rows of every example, as in a forward pass in chunks.</summary>
    public List<TrackedLayer> WithOtherRows(long examples)
    {
        var found = new List<TrackedLayer>();
        ForEach(
            (layer, start) =>
            {
                if (!layer.HasRowsOf(gradients.AsSpan(start, layer.Calls), examples))
                {
                    found.Add(layer);
                }
            }
        );
        return found;
    }

    /// <summary>A hash of the losses, and of numbers of every layer's outputs at even distances, in order: the same computation has the
    /// same.</summary>
    public ulong Signature()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var hash = WeightsHash.Bits(losses);
        foreach (var tap in layers.SelectMany(layer => layer.Taps).Where(tap => tap.numel() > 0))
        {
            var flat = tap.detach().reshape(-1);
            var rows = tap.dim() < 2 ? 1 : tap.shape[0] * (tap.dim() < 3 ? 1 : tap.shape[1]);

            // An odd distance: an even one may meet few of the columns.
            var distance = Math.Max(1, flat.shape[0] / Math.Max(SignatureNumbers, 4 * rows)) | 1;
            hash = KeyedRandom.Mix(hash ^ WeightsHash.Bits(flat.slice(0, 0, flat.shape[0], distance)));
        }

        return hash;
    }

    /// <summary>The layers whose rows are not the examples' own in order; one more backward pass to the layers' outputs through the graph,
    /// which was kept.</summary>
    /// <param name="batch">The examples.</param>
    /// <param name="seed">Of the weights.</param>
    /// <param name="graph">What becomes of the graph now.</param>
    public List<TrackedLayer> WithForeignRows(ExampleBatch batch, long seed, GraphAfter graph = GraphAfter.Freed)
    {
        using var scope = NewDisposeScope();
        var taps = layers.SelectMany(layer => layer.Taps).ToList();
        if (taps.Count == 0 || !losses.requires_grad)
        {
            return [];
        }

        var other = WithOtherRows(batch.Count);
        var weights = RowCheck.Weights(batch.Count, seed, losses.dtype, losses.device); // [B]
        Tensor?[] weighted;
        using (enable_grad())
        {
            weighted = GuardedBackward.Gradients([(losses * weights).sum()], taps, graph, ids: batch.Ids);
        }

        using var noGrad = no_grad();
        var asked = new List<(TrackedLayer Layer, Tensor Follows)>();
        ForEach(
            (layer, start) =>
            {
                if (
                    !other.Contains(layer)
                    && layer.RowsFollow(gradients.AsSpan(start, layer.Calls), weighted.AsSpan(start, layer.Calls), weights) is { } follows
                )
                {
                    asked.Add((layer, follows));
                }
            }
        );
        if (asked.Count == 0)
        {
            return [];
        }

        // One question for all: it waits for the device.
        var answers = stack([.. asked.Select(a => a.Follows)], 0).cpu().data<bool>().ToArray();
        return [.. asked.Where((_, k) => !answers[k]).Select(a => a.Layer)];
    }

    private void ForEach(Action<TrackedLayer, int> visit)
    {
        var start = 0;
        foreach (var layer in layers)
        {
            visit(layer, start);
            start += layer.Calls;
        }
    }
}
