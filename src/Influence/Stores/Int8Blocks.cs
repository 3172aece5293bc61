using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// Numbers as int8, with one float32 scale for each block of 128 numbers of a layer, its largest absolute number over 127; the last block of a
/// layer is shorter, since layers differ in size. Rounded to nearest, so a number is off by half a scale at most.
/// </summary>
internal static class Int8Blocks
{
    public const long BlockSize = 128;
    private const double Largest = 127;

    /// <summary>How many blocks a row has.</summary>
    public static long Count(IReadOnlyList<StoredLayer> layers) => layers.Sum(layer => CountOf(layer.Size()));

    /// <summary>Int8 <c>[n, K]</c> and float32 scales <c>[n, blocks]</c> of rows <c>[n, K]</c>, in the current scope.</summary>
    public static (Tensor Numbers, Tensor Scales) Pack(Tensor rows, IReadOnlyList<StoredLayer> layers)
    {
        using var scope = NewDisposeScope();
        var numbers = zeros(rows.shape, ScalarType.Int8);
        var scales = zeros([rows.shape[0], Count(layers)], ScalarType.Float32);
        var (column, block) = (0L, 0L);
        foreach (var size in layers.Select(layer => layer.Size()))
        {
            using var step = NewDisposeScope();
            var blocks = InBlocks(rows.narrow(1, column, size).to_type(ScalarType.Float64));                    // [n, b, 128]
            var own = (blocks.abs().amax(2) / Largest).to_type(ScalarType.Float32);                             // [n, b]
            own = own.where(own > 0, ones_like(own));
            var rounded = (blocks / own.to_type(ScalarType.Float64).unsqueeze(2)).round().clamp(-Largest, Largest);
            numbers.narrow(1, column, size).copy_(rounded.reshape(rows.shape[0], -1).narrow(1, 0, size));
            scales.narrow(1, block, own.shape[1]).copy_(own);
            column += size;
            block += own.shape[1];
        }

        return (numbers.MoveToOuterDisposeScope(), scales.MoveToOuterDisposeScope());
    }

    /// <summary>Float32 <c>[n, K]</c> from what <see cref="Pack"/> gave, in the current scope.</summary>
    public static Tensor Unpack(Tensor numbers, Tensor scales, IReadOnlyList<StoredLayer> layers)
    {
        using var scope = NewDisposeScope();
        var rows = numbers.to_type(ScalarType.Float32);
        var (column, block) = (0L, 0L);
        foreach (var size in layers.Select(layer => layer.Size()))
        {
            using var step = NewDisposeScope();
            var part = rows.narrow(1, column, size);
            var own = scales.narrow(1, block, CountOf(size)).unsqueeze(2);                                      // [n, b, 1]
            part.copy_((InBlocks(part) * own).reshape(rows.shape[0], -1).narrow(1, 0, size));
            column += size;
            block += CountOf(size);
        }

        return rows.MoveToOuterDisposeScope();
    }

    private static long CountOf(long size) => (size + BlockSize - 1) / BlockSize;

    private static Tensor InBlocks(Tensor part) =>
        nn.functional.pad(part, [0, (CountOf(part.shape[1]) * BlockSize) - part.shape[1]]).reshape(part.shape[0], -1, BlockSize);
}
