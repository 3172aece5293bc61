using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// Random matrices of signs over sqrt(k). An entry follows from the seed, the layer's name, the side, its row and its column alone, so
/// one of fewer columns is, up to its scale, the beginning of one of more.
/// </summary>
internal static class SignMatrix
{
    public const string Generator =
        "philox4x32-10; key: first 8 bytes, little-endian, of the SHA-256 of seed/layer/side; counter: (column >> 7, row, row >> 32, 0); " +
        "bit column & 127 of the block: 1 is +, 0 is -; scale 1/sqrt(columns)";

    private const int Bits = 128;

    /// <summary>R, <c>[rows, columns]</c>, in the caller's scope; null for the identity, where nothing would be left out.</summary>
    public static Tensor? Of(long seed, string layer, string side, long rows, long columns, ScalarType dtype, Device device) => columns == rows
        ? null
        : tensor(Signs(seed, layer, side, rows, columns), dtype: dtype, device: device).reshape(rows, columns).mul_(1 / Math.Sqrt(columns));

    /// <summary>1 and -1, row by row.</summary>
    public static float[] Signs(long seed, string layer, string side, long rows, long columns)
    {
        if (rows * (Int128)columns > Array.MaxLength)
        {
            throw new InfluenceException(
                $"A projection of {layer} from {rows:N0} to {columns:N0} dimensions is too large. Write a smaller Dimension, or leave the layer out by Layers.");
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

    private static (uint K0, uint K1) Key(long seed, string layer, string side)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{seed}/{layer}/{side}")));
        return (BinaryPrimitives.ReadUInt32LittleEndian(hash), BinaryPrimitives.ReadUInt32LittleEndian(hash.AsSpan(4)));
    }
}
