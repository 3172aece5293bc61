using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// Numbers as int8, with one float32 scale for each block of 128 numbers of a layer, its largest absolute number over 127; the last block
/// of a layer is shorter, since layers differ in size. Rounded to nearest, so a number is off by half a scale at most.
/// </summary>
internal static class Int8Blocks
{
    public const int BlockSize = 128;

    /// <summary>How many blocks a row has.</summary>
    public static long Count(IReadOnlyList<StoredLayer> layers) => layers.Sum(layer => (layer.Size() + BlockSize - 1) / BlockSize);

    /// <summary>The blocks' sizes, in the order of the columns.</summary>
    public static int[] Sizes(IReadOnlyList<StoredLayer> layers)
    {
        var sizes = new List<int>();
        foreach (var size in layers.Select(layer => layer.Size()))
        {
            for (long at = 0; at < size; at += BlockSize)
            {
                sizes.Add((int)Math.Min(BlockSize, size - at));
            }
        }

        return [.. sizes];
    }

    /// <summary>Int8 <c>[n, K]</c> and float32 scales <c>[n, blocks]</c> of rows <c>[n, K]</c>, in the current scope.</summary>
    public static unsafe (Tensor Numbers, Tensor Scales) Pack(Tensor rows, IReadOnlyList<StoredLayer> layers)
    {
        using var scope = NewDisposeScope();
        var own = rows.to_type(ScalarType.Float32).contiguous();
        var sizes = Sizes(layers);
        var numbers = empty(own.shape, ScalarType.Int8);
        var scales = empty([own.shape[0], sizes.Length], ScalarType.Float32);
        fixed (
            byte* from = own.bytes,
                to = numbers.bytes,
                scale = scales.bytes
        )
        {
            for (long row = 0; row < own.shape[0]; row++)
            {
                PackRow(
                    (float*)from + (row * own.shape[1]),
                    (sbyte*)to + (row * own.shape[1]),
                    (float*)scale + (row * sizes.Length),
                    sizes
                );
            }
        }

        return (numbers.MoveToOuterDisposeScope(), scales.MoveToOuterDisposeScope());
    }

    /// <summary>Float32 <c>[n, K]</c> from what <see cref="Pack"/> gave, in the current scope.</summary>
    public static unsafe Tensor Unpack(Tensor numbers, Tensor scales, IReadOnlyList<StoredLayer> layers)
    {
        using var scope = NewDisposeScope();
        var sizes = Sizes(layers);
        var rows = empty(numbers.shape, ScalarType.Float32);
        fixed (
            byte* from = numbers.bytes,
                to = rows.bytes,
                scale = scales.bytes
        )
        {
            for (long row = 0; row < rows.shape[0]; row++)
            {
                UnpackRow(
                    (sbyte*)from + (row * rows.shape[1]),
                    (float*)scale + (row * sizes.Length),
                    (float*)to + (row * rows.shape[1]),
                    sizes
                );
            }
        }

        return rows.MoveToOuterDisposeScope();
    }

    public static unsafe void PackRow(float* from, sbyte* to, float* scales, int[] sizes)
    {
        for (var b = 0; b < sizes.Length; b++)
        {
            scales[b] = RowPacking.ToInt8(from, to, sizes[b]);
            from += sizes[b];
            to += sizes[b];
        }
    }

    public static unsafe void UnpackRow(sbyte* from, float* scales, float* to, int[] sizes)
    {
        for (var b = 0; b < sizes.Length; b++)
        {
            RowPacking.FromInt8(from, scales[b], to, sizes[b]);
            from += sizes[b];
            to += sizes[b];
        }
    }
}
