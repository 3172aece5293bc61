using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>How the examples lie in the tensors that a layer sees.</summary>
internal enum ExampleAxis
{
    /// <summary><c>[B, ...]</c>: the usual one.</summary>
    First,

    /// <summary><c>[B*k, ...]</c>: k rows per example, example by example (frames, windows, flattened positions).</summary>
    MergedFirst,

    /// <summary><c>[T, B*k, ...]</c>: sequence first, usually with k = 1; native attention over windows has more.</summary>
    Second,

    /// <summary>No example axis: one input serves the whole batch, as for a table of positions.</summary>
    Shared,
}

/// <summary>
/// The example axis of one layer, found by comparing what the layer sees of one example with what it sees of two.
/// </summary>
/// <param name="Axis">Where the examples lie.</param>
/// <param name="RowsPerExample">k of <see cref="ExampleAxis.MergedFirst"/> and <see cref="ExampleAxis.Second"/>; else 1.</param>
internal readonly record struct LayerLayout(ExampleAxis Axis, long RowsPerExample)
{
    public static LayerLayout BatchFirst => new(ExampleAxis.First, 1);

    /// <summary>Compares the layer's output shape for one example with that for two; null when neither axis follows.</summary>
    public static LayerLayout? Find(long[] one, long[] two)
    {
        if (one.Length != two.Length || one.Length == 0)
        {
            return null;
        }

        if (one.AsSpan().SequenceEqual(two))
        {
            return new LayerLayout(ExampleAxis.Shared, 1);
        }

        if (two[0] == 2 * one[0] && one.AsSpan(1).SequenceEqual(two.AsSpan(1)))
        {
            return one[0] == 1 ? BatchFirst : new LayerLayout(ExampleAxis.MergedFirst, one[0]);
        }

        return one.Length > 1 && one[0] == two[0] && two[1] == 2 * one[1] ? new LayerLayout(ExampleAxis.Second, one[1]) : null;
    }

    /// <summary>The tensor with the examples in front, <c>[B, ...]</c> or <c>[B*k, ...]</c>.</summary>
    public Tensor ExamplesFirst(Tensor tensor) => Axis == ExampleAxis.Second ? tensor.transpose(0, 1) : tensor;

    /// <summary>
    /// A shared tensor as every example's own: <c>[T, ...]</c> or <c>[1, T, ...]</c> becomes <c>[B, T, ...]</c> without a copy.
    /// </summary>
    public static Tensor Expand(Tensor tensor, long batch)
    {
        var single = tensor.dim() > 1 && tensor.shape[0] == 1 ? tensor : tensor.unsqueeze(0);
        var shape = single.shape;
        shape[0] = batch;
        return single.expand(shape);
    }
}
