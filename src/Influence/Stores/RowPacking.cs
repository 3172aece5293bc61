using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Influence.Stores;

/// <summary>A row of float32 numbers to int8 or float16 and back, one pass over the row each; vectors of 256 bits, with plain code for the
/// ends.</summary>
internal static unsafe class RowPacking
{
    /// <summary>What a float16 row's largest number becomes: far from overflow, with as many numbers above the smallest normal one as can
    /// be.</summary>
    public const float LargestHalf = 32768;
    private const float LargestInt8 = 127;
    private const int Lanes = 8;

    /// <summary>Packs one block: the largest absolute number over 127 is its scale, 1 where all are zero; numbers are rounded to
    /// nearest.</summary>
    public static float ToInt8(float* from, sbyte* to, int count)
    {
        var scale = LargestOf(from, count) / LargestInt8;
        if (!(scale > 0))
        {
            new Span<sbyte>(to, count).Clear();
            return 1;
        }

        var (i, divisor) = (0, Vector256.Create(scale));
        for (; i + (4 * Lanes) <= count; i += 4 * Lanes)
        {
            var low = Vector256.Narrow(Rounded(from + i, divisor), Rounded(from + i + Lanes, divisor));
            var high = Vector256.Narrow(Rounded(from + i + (2 * Lanes), divisor), Rounded(from + i + (3 * Lanes), divisor));
            Vector256.Narrow(low, high).Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = (sbyte)Math.Clamp(MathF.Round(from[i] / scale), -LargestInt8, LargestInt8);
        }

        return scale;
    }

    public static void FromInt8(sbyte* from, float scale, float* to, int count)
    {
        var (i, factor) = (0, Vector256.Create(scale));
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            var (low, high) = Vector256.Widen(
                Vector256.Create(Vector128.WidenLower(Vector128.Load(from + i)), Vector128.WidenUpper(Vector128.Load(from + i)))
            );
            (Vector256.ConvertToSingle(low) * factor).Store(to + i);
            (Vector256.ConvertToSingle(high) * factor).Store(to + i + Lanes);
        }

        for (; i < count; i++)
        {
            to[i] = from[i] * scale;
        }
    }

    /// <summary>Packs a row: its largest absolute number becomes <see cref="LargestHalf"/>. Returns what a stored number is multiplied by,
    /// 1 where all are zero.</summary>
    public static double ToHalf(float* from, ushort* to, long count)
    {
        var largest = LargestOf(from, count);
        if (!(largest > 0))
        {
            new Span<ushort>(to, (int)count).Clear();
            return 1;
        }

        // Two factors, since their product may be beyond float32.
        var (first, second) =
            largest < 1e-30f ? (1e30f, (float)(LargestHalf / (largest * 1e30))) : (1f, (float)(LargestHalf / (double)largest));
        var (a, b, i) = (Vector256.Create(first), Vector256.Create(second), 0L);
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            Vector256.Narrow(HalfBits(Vector256.Load(from + i) * a * b), HalfBits(Vector256.Load(from + i + Lanes) * a * b)).Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = BitConverter.HalfToUInt16Bits((Half)(from[i] * first * second));
        }

        return 1.0 / ((double)first * second);
    }

    public static void FromHalf(ushort* from, double scale, float* to, long count)
    {
        // The bits of a float16 in a float32's places are its value times 2^-112. Two factors where one would be beyond float32.
        var (first, second) = scale < 1 ? ((float)(scale * Math.Pow(2, 112)), 1f) : ((float)Math.Pow(2, 112), (float)scale);
        var (a, b, mask, i) = (Vector256.Create(first), Vector256.Create(second), Vector256.Create(unchecked((int)0x8FFFE000)), 0L);
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            var (low, high) = Vector256.Widen(Vector256.Load((short*)(from + i)));
            (((low << 13) & mask).AsSingle() * a * b).Store(to + i);
            (((high << 13) & mask).AsSingle() * a * b).Store(to + i + Lanes);
        }

        for (; i < count; i++)
        {
            to[i] = (float)((double)BitConverter.UInt16BitsToHalf(from[i]) * scale);
        }
    }

    /// <summary>The largest absolute number; NaN where there is one.</summary>
    public static float LargestOf(float* from, long count)
    {
        var (i, largest) = (0L, Vector256<float>.Zero);
        for (; i + Lanes <= count; i += Lanes)
        {
            largest = Vector256.Max(largest, Vector256.Abs(Vector256.Load(from + i)));
        }

        var found = 0f;
        for (var lane = 0; lane < Lanes; lane++)
        {
            found = MathF.Max(found, largest[lane]);
        }

        for (; i < count; i++)
        {
            found = MathF.Max(found, MathF.Abs(from[i]));
        }

        return found;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Rounded(float* from, Vector256<float> divisor) =>
        Vector256.ConvertToInt32(
            Vector256.Clamp(Vector256.Round(Vector256.Load(from) / divisor), Vector256.Create(-LargestInt8), Vector256.Create(LargestInt8))
        );

    /// <summary>Float16 bits of numbers up to <see cref="LargestHalf"/>, rounded to nearest, ties to even.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> HalfBits(Vector256<float> value)
    {
        var bits = value.AsUInt32();
        var sign = (bits >> 16) & Vector256.Create(0x8000u);
        var magnitude = bits & Vector256.Create(0x7FFFFFFFu);
        var normal =
            (magnitude + Vector256.Create(unchecked((uint)((15 - 127) << 23) + 0xFFF)) + ((magnitude >> 13) & Vector256.Create(1u))) >> 13;

        // Below 2^-14 adding 1/2 leaves the rounded bits at the end of the sum.
        var small = (magnitude.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(126u << 23);
        return sign | Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(113u << 23)), small, normal);
    }
}
