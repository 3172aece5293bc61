using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Finds in-place writes to what the layers saw, exactly and without a copy: by the count of writes that a tensor shares with all its views
/// (<see cref="WriteCounts"/>), as it was when the layer saw it and as it is after the pass.
/// </summary>
internal sealed class WriteProbe
{
    private readonly List<Tensor> _watched = [];
    private readonly List<long> _before = [];

    /// <summary>Watches tensors from now on; they live until the pass is over.</summary>
    public void Watch(params IReadOnlyList<Tensor> tensors)
    {
        if (WriteCounts.Of(tensors) is { } counts)
        {
            _watched.AddRange(tensors);
            _before.AddRange(counts);
            return;
        }

        if (tensors.Count > 1)
        {
            // One of them has no count.
            foreach (var tensor in tensors)
            {
                Watch(tensor);
            }
        }
    }

    /// <summary>Whether a forward pass failed because it writes to an output that a layer gave a gradient of its own.</summary>
    public static bool IsWriteToLeaf(InfluenceException failure) =>
        failure.InnerException is { } cause && cause.Message.Contains("leaf Variable", StringComparison.Ordinal);

    /// <summary>Whether anything was written to a watched tensor since, be it what was there before.</summary>
    public bool WasWrittenTo() => WriteCounts.Of(_watched) is { } now && !now.AsSpan().SequenceEqual([.. _before]);
}
