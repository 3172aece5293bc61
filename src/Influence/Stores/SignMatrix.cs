using System.Buffers.Binary;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using System.Text;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// Random matrices of signs over sqrt(k). An entry follows from the seed, the layer's name, the side, its row and its column alone, so
/// one of fewer columns is, up to its scale, the beginning of one of more.
/// </summary>
internal static class SignMatrix
{
    public const string Generator =
        "philox4x32-10; key: first 8 bytes, little-endian, of the SHA-256 of seed/layer/side; counter: (column >> 7, row, row >> 32, 0); "
        + "bit column & 127 of the block: 1 is +, 0 is -; scale 1/sqrt(columns). Sketch: counter (0, row, row >> 32, 1), column = first "
        + "word * columns >> 32, sign by the last bit of the second";

    private const int Bits = 128;

    /// <summary>R, <c>[rows, columns]</c>, in the caller's scope; null for the identity, where nothing would be left out.</summary>
    public static Tensor? Of(long seed, string layer, string side, long rows, long columns, ScalarType dtype, Device device) =>
        columns == rows
            ? null
            : tensor(Signs(seed, layer, side, rows, columns), dtype: dtype, device: device)
                .reshape(rows, columns)
                .mul_(Kept(1 / Math.Sqrt(columns)));

    /// <summary>Some rows of R, from one on, as numbers of one absolute value; float32, contiguous, on the CPU.</summary>
    public static unsafe void Fill(Tensor rows, long seed, string layer, string side, long first, float value)
    {
        var (key, columns) = (Key(seed, layer, side), rows.shape[1]);
        fixed (byte* bytes = rows.bytes)
        {
            var start = (float*)bytes;
            Threads.ForEach(
                (int)rows.shape[0],
                r =>
                {
                    var row = first + r;
                    for (long at = 0; at < columns; at += Bits)
                    {
                        var block = Philox.Block(((uint)(at / Bits), (uint)row, (uint)(row >> 32), 0), key);
                        Expand(block, start + (r * columns) + at, (int)Math.Min(Bits, columns - at), value);
                    }
                }
            );
        }
    }

    /// <summary>The column and the sign of each of some parameters in a sketch of k columns, from two words of a block of their
    /// own.</summary>
    public static (long[] Columns, float[] Signs) Sketch(long seed, string layer, long parameters, long columns)
    {
        var key = Key(seed, layer, "sketch");
        var (places, signs) = (new long[parameters], new float[parameters]);
        Threads.ForEach(
            (int)((parameters + 4095) / 4096),
            piece =>
            {
                for (long row = piece * 4096L; row < Math.Min(parameters, (piece + 1) * 4096L); row++)
                {
                    var (x0, x1, _, _) = Philox.Block((0, (uint)row, (uint)(row >> 32), 1), key);
                    (places[row], signs[row]) = ((long)((x0 * (UInt128)columns) >> 32), (x1 & 1) == 0 ? -1 : 1);
                }
            }
        );
        return (places, signs);
    }

    /// <summary>1 and -1, row by row.</summary>
    public static float[] Signs(long seed, string layer, string side, long rows, long columns)
    {
        if (rows * (Int128)columns > Array.MaxLength)
        {
            throw new InfluenceException(
                $"A projection of {layer} from {rows:N0} to {columns:N0} dimensions is too large. Write a smaller Dimension, or leave the "
                    + "layer out by Layers."
            );
        }

        var key = Key(seed, layer, side);
        var signs = new float[rows * columns];
        for (long row = 0, at = 0; row < rows; row++)
        {
            for (long start = 0; start < columns; start += Bits)
            {
                var block = Philox.Block(((uint)(start / Bits), (uint)row, (uint)(row >> 32), 0), key);
                var (low, high) = (block.X0 | ((ulong)block.X1 << 32), block.X2 | ((ulong)block.X3 << 32));
                for (var bit = 0; bit < Math.Min(Bits, columns - start); bit++, at++)
                {
                    signs[at] = (((bit < 64 ? low : high) >> (bit & 63)) & 1) == 0 ? -1 : 1;
                }
            }
        }

        return signs;
    }

    /// <summary>Up to 128 bits as numbers of one absolute value, plus where a bit is set.</summary>
    private static unsafe void Expand((uint X0, uint X1, uint X2, uint X3) block, float* to, int count, float value)
    {
        var words = stackalloc uint[] { block.X0, block.X1, block.X2, block.X3 };
        var (bits, plus) = (Vector256.Create(1u, 2, 4, 8, 16, 32, 64, 128), Vector256.Create(value).AsUInt32());
        var (i, sign) = (0, Vector256.Create(0x80000000u));
        for (; i + 8 <= count; i += 8)
        {
            var missing = Vector256.Equals(Vector256.Create(words[i >> 5] >> (i & 31)) & bits, Vector256<uint>.Zero);
            (plus | (missing & sign)).AsSingle().Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = ((words[i >> 5] >> (i & 31)) & 1) == 0 ? -value : value;
        }
    }

    private static (uint K0, uint K1) Key(long seed, string layer, string side)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{seed}/{layer}/{side}")));
        return (BinaryPrimitives.ReadUInt32LittleEndian(hash), BinaryPrimitives.ReadUInt32LittleEndian(hash.AsSpan(4)));
    }
}
