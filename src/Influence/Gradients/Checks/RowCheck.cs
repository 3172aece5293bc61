using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Whether a layer's row i belongs to example i, which a sum over the batch does not see. Each example's loss gets a weight of its
/// own, a power of two with a sign, and the layers' outputs are differentiated once more: the gradient of every row then is its
/// first gradient times its own example's weight, to the last bit. Rows that were sorted, flipped or dispatched inside the model
/// have another example's weight, and rows that several examples' losses depend on have a mixture.
/// </summary>
internal static class RowCheck
{
    private const int Exponents = 8;

    /// <summary>One weight for each example, <c>[B]</c>: neighbours differ, and which ones are alike follows from the seed.</summary>
    public static Tensor Weights(int count, long seed, ScalarType dtype, Device device)
    {
        var weights = new double[count];
        for (var i = 0; i < count; i++)
        {
            var bits = KeyedRandom.Mix((ulong)seed + (ulong)(i / (2 * Exponents)));
            var slot = (int)(((ulong)i + bits) % (2 * Exponents));
            weights[i] = Math.ScaleB(slot % 2 == 0 ? 1 : -1, slot / 2);
        }

        return tensor(weights, dtype: dtype, device: device);
    }

    /// <summary>Whether the weighted gradient of every row is the row's own times its example's weight; a boolean without dimensions.</summary>
    /// <param name="once">d, <c>[B*k, ...]</c>.</param>
    /// <param name="weighted">The same of the weighted losses.</param>
    /// <param name="weights">w, <c>[B]</c>.</param>
    public static Tensor Follows(Tensor once, Tensor weighted, Tensor weights)
    {
        // In float16 numbers below 6e-5 lose digits, so that a weight is not exact there: a lost row is far larger than this.
        var isHalf = HalfPrecision.IsHalf(once.dtype);
        (once, weighted) = (HalfPrecision.Wide(once), HalfPrecision.Wide(weighted));
        var rows = once.shape[0];
        var own = weights.to_type(once.dtype).repeat_interleave(rows / weights.shape[0]).reshape([rows, .. Enumerable.Repeat(1L, (int)once.dim() - 1)]);
        var expected = (once * own).reshape(rows, -1);                                  // [B*k, n]
        var error = (weighted.reshape(rows, -1) - expected).abs().amax([1]);            // [B*k]
        var room = expected.abs().amax([1]).mul_(once.dtype == ScalarType.Float64 ? 1e-9 : isHalf ? 1e-2 : 1e-4);
        if (isHalf)
        {
            room.add_(1e-5);
        }

        // Rows too large for the type are reported where they are used.
        return error.le(room).logical_or(expected.isfinite().all(1).logical_not()).all();
    }
}
