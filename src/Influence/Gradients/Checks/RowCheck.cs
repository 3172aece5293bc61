using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
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
    private const long NumbersAtOnce = 1 << 18;

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

    /// <summary>Whether the weighted gradient of every row is the row's own times its example's weight; a boolean without
    /// dimensions.</summary>
    /// <param name="once">d, <c>[B*k, ...]</c>.</param>
    /// <param name="weighted">The same of the weighted losses.</param>
    /// <param name="weights">w, <c>[B]</c>.</param>
    public static Tensor Follows(Tensor once, Tensor weighted, Tensor weights)
    {
        // In float16 numbers below 6e-5 lose digits, so that a weight is not exact there: a lost row is far larger than this.
        var isHalf = HalfPrecision.IsHalf(once.dtype);
        var wide = isHalf ? ScalarType.Float32 : once.dtype;
        using var outer = NewDisposeScope();
        var rows = once.shape[0];
        var own = weights.to_type(wide).repeat_interleave(rows / weights.shape[0]).unsqueeze(1); // [B*k, 1]
        var (first, second) = (once.reshape(rows, -1), weighted.reshape(rows, -1)); // [B*k, n]

        // Piece by piece: of large layers whole copies would cost more than the comparison.
        var atOnce = once.device.type == DeviceType.CPU ? Math.Max(1, NumbersAtOnce / first.shape[1]) : rows;
        var answers = new List<Tensor>();
        for (long start = 0; start < rows; start += atOnce)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(atOnce, rows - start);
            var expected = HalfPrecision.Wide(first.narrow(0, start, count)) * own.narrow(0, start, count);
            var error = linalg.vector_norm(HalfPrecision.Wide(second.narrow(0, start, count)) - expected, double.PositiveInfinity, [1]);
            var room = linalg
                .vector_norm(expected, double.PositiveInfinity, [1])
                .mul_(
                    Kept(
                        once.dtype == ScalarType.Float64 ? 1e-9
                        : isHalf ? 1e-2
                        : 1e-4
                    )
                );
            if (isHalf)
            {
                room.add_(Kept(1e-5));
            }

            // Rows too large for the type are reported where they are used.
            answers.Add(error.le(room).logical_or(room.isfinite().logical_not()).all().MoveToOuterDisposeScope());
        }

        return stack([.. answers], 0).all().MoveToOuterDisposeScope();
    }
}
