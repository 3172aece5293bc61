using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// Products of few queries with rows as they lie in a mapped shard, four rows at a time, without writing them out as float32: the memory's
/// speed is the limit. Int8 rows meet the queries as int16 with a scale for each block, which changes a product by less than a hundredth of
/// what int8 itself does; sums of a block are exact.
/// </summary>
internal sealed unsafe class RowProducts
{
    private const int Rows = 4;

    private readonly ScalarType _type;
    private readonly int[] _sizes;
    private readonly long _width;
    private readonly float[] _floats = [];
    private readonly float[] _factors;
    private readonly short[] _shorts = [];
    private readonly float[] _scales = [];

    /// <param name="queries">Float32 <c>[Q, K]</c>.</param>
    /// <param name="type">Of the rows.</param>
    /// <param name="sizes">Of int8's blocks.</param>
    public RowProducts(Tensor queries, ScalarType type, int[] sizes)
    {
        (_type, _sizes, Count, _width) = (type, sizes, (int)queries.shape[0], queries.shape[1]);
        var values = queries.to_type(ScalarType.Float32).contiguous().data<float>().ToArray();
        _factors = [.. Enumerable.Repeat(1f, Count)];
        if (type == ScalarType.Int8)
        {
            _shorts = new short[values.Length];
            _scales = new float[Count * (long)sizes.Length];
            Quantise(values);
            return;
        }

        _floats = values;
        if (type != ScalarType.Float16)
        {
            return;
        }

        // The bits of a float16 in a float32's places are its value times 2^-112.
        for (var q = 0; q < Count; q++)
        {
            var own = values.AsSpan((int)(q * _width), (int)_width);
            var largest = 0f;
            foreach (var value in own)
            {
                largest = MathF.Max(largest, MathF.Abs(value));
            }

            _factors[q] = largest > 0 ? largest : 1;
            for (var i = 0; i < own.Length; i++)
            {
                own[i] = own[i] / _factors[q] * 5.192296858534828e33f;
            }
        }
    }

    /// <summary>Q.</summary>
    public int Count { get; }

    /// <summary>Whether this processor has what the products are made of.</summary>
    public static bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    /// <summary>The products with rows <c>first..first + count</c> of a shard, to <c>to[q * stride + row]</c>.</summary>
    public void Multiply(ShardMap shard, int first, int count, float* to, long stride)
    {
        // A last group of fewer than four rows repeats its last one.
        var rows = stackalloc byte*[Rows];
        var scales = stackalloc float*[Rows];
        var sums = stackalloc float[Rows];
        fixed (
            float* floats = _floats,
                queryScales = _scales
        )
        fixed (short* shorts = _shorts)
        {
            for (var row = first; row < first + count; row += Rows)
            {
                for (var r = 0; r < Rows; r++)
                {
                    var own = Math.Min(row + r, first + count - 1);
                    rows[r] = shard.Row(own);
                    scales[r] = _type == ScalarType.Int8 ? shard.BlockScales(own) : null;
                }

                for (var q = 0; q < Count; q++)
                {
                    switch (_type)
                    {
                        case ScalarType.Int8 when Avx512BW.IsSupported:
                            Wide8(rows, scales, shorts + (q * _width), queryScales + (q * (long)_sizes.Length), sums);
                            break;
                        case ScalarType.Int8:
                            Int8(rows, scales, shorts + (q * _width), queryScales + (q * (long)_sizes.Length), sums);
                            break;
                        case ScalarType.Float16 when Avx512BW.IsSupported:
                            WideHalf(rows, floats + (q * _width), sums);
                            break;
                        case ScalarType.Float16:
                            Halves(rows, floats + (q * _width), sums);
                            break;
                        default:
                            Singles(rows, floats + (q * _width), sums);
                            break;
                    }

                    for (var r = 0; r < Rows && row + r < first + count; r++)
                    {
                        to[(q * stride) + row + r] =
                            _type == ScalarType.Float16 ? (float)(sums[r] * (double)_factors[q] * shard.RowScale(row + r)) : sums[r];
                    }
                }
            }
        }
    }

    private void Quantise(float[] values)
    {
        for (var q = 0; q < Count; q++)
        {
            var at = (int)(q * _width);
            for (var b = 0; b < _sizes.Length; b++)
            {
                var largest = 0f;
                for (var i = 0; i < _sizes[b]; i++)
                {
                    largest = MathF.Max(largest, MathF.Abs(values[at + i]));
                }

                var scale = largest / short.MaxValue;
                _scales[(q * (long)_sizes.Length) + b] = scale;
                for (var i = 0; i < _sizes[b] && scale > 0; i++)
                {
                    _shorts[at + i] = (short)Math.Clamp(MathF.Round(values[at + i] / scale), -short.MaxValue, short.MaxValue);
                }

                at += _sizes[b];
            }
        }
    }

    private void Int8(byte** rows, float** scales, short* query, float* queryScales, float* sums)
    {
        sbyte* a = (sbyte*)rows[0],
            b = (sbyte*)rows[1],
            c = (sbyte*)rows[2],
            d = (sbyte*)rows[3];
        var (sa, sb, sc, sd) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
        var (ea, eb, ec, ed) = (0f, 0f, 0f, 0f);
        for (var block = 0; block < _sizes.Length; block++)
        {
            var (size, i) = (_sizes[block], 0);
            var (ia, ib, ic, id) = (Vector256<int>.Zero, Vector256<int>.Zero, Vector256<int>.Zero, Vector256<int>.Zero);
            for (; i + 16 <= size; i += 16)
            {
                var q = Vector256.Load(query + i);
                ia += Avx2.MultiplyAddAdjacent(Avx2.ConvertToVector256Int16(a + i), q);
                ib += Avx2.MultiplyAddAdjacent(Avx2.ConvertToVector256Int16(b + i), q);
                ic += Avx2.MultiplyAddAdjacent(Avx2.ConvertToVector256Int16(c + i), q);
                id += Avx2.MultiplyAddAdjacent(Avx2.ConvertToVector256Int16(d + i), q);
            }

            var (fa, fb, fc, fd) = (
                scales[0][block] * queryScales[block],
                scales[1][block] * queryScales[block],
                scales[2][block] * queryScales[block],
                scales[3][block] * queryScales[block]
            );
            sa = Fma.MultiplyAdd(Avx.ConvertToVector256Single(ia), Vector256.Create(fa), sa);
            sb = Fma.MultiplyAdd(Avx.ConvertToVector256Single(ib), Vector256.Create(fb), sb);
            sc = Fma.MultiplyAdd(Avx.ConvertToVector256Single(ic), Vector256.Create(fc), sc);
            sd = Fma.MultiplyAdd(Avx.ConvertToVector256Single(id), Vector256.Create(fd), sd);
            for (; i < size; i++)
            {
                ea += fa * (a[i] * query[i]);
                eb += fb * (b[i] * query[i]);
                ec += fc * (c[i] * query[i]);
                ed += fd * (d[i] * query[i]);
            }

            a += size;
            b += size;
            c += size;
            d += size;
            query += size;
        }

        (sums[0], sums[1], sums[2], sums[3]) = (
            Vector256.Sum(sa) + ea,
            Vector256.Sum(sb) + eb,
            Vector256.Sum(sc) + ec,
            Vector256.Sum(sd) + ed
        );
    }

    private void Wide8(byte** rows, float** scales, short* query, float* queryScales, float* sums)
    {
        sbyte* a = (sbyte*)rows[0],
            b = (sbyte*)rows[1],
            c = (sbyte*)rows[2],
            d = (sbyte*)rows[3];
        var (sa, sb, sc, sd) = (Vector512<float>.Zero, Vector512<float>.Zero, Vector512<float>.Zero, Vector512<float>.Zero);
        var (ea, eb, ec, ed) = (0f, 0f, 0f, 0f);
        for (var block = 0; block < _sizes.Length; block++)
        {
            var (size, i) = (_sizes[block], 0);
            var (ia, ib, ic, id) = (Vector512<int>.Zero, Vector512<int>.Zero, Vector512<int>.Zero, Vector512<int>.Zero);
            for (; i + 32 <= size; i += 32)
            {
                var q = Vector512.Load(query + i);
                ia += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.Load(a + i)), q);
                ib += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.Load(b + i)), q);
                ic += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.Load(c + i)), q);
                id += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.Load(d + i)), q);
            }

            var (fa, fb, fc, fd) = (
                scales[0][block] * queryScales[block],
                scales[1][block] * queryScales[block],
                scales[2][block] * queryScales[block],
                scales[3][block] * queryScales[block]
            );
            sa = Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(ia), Vector512.Create(fa), sa);
            sb = Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(ib), Vector512.Create(fb), sb);
            sc = Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(ic), Vector512.Create(fc), sc);
            sd = Avx512F.FusedMultiplyAdd(Avx512F.ConvertToVector512Single(id), Vector512.Create(fd), sd);
            for (; i < size; i++)
            {
                ea += fa * (a[i] * query[i]);
                eb += fb * (b[i] * query[i]);
                ec += fc * (c[i] * query[i]);
                ed += fd * (d[i] * query[i]);
            }

            a += size;
            b += size;
            c += size;
            d += size;
            query += size;
        }

        (sums[0], sums[1], sums[2], sums[3]) = (
            Vector512.Sum(sa) + ea,
            Vector512.Sum(sb) + eb,
            Vector512.Sum(sc) + ec,
            Vector512.Sum(sd) + ed
        );
    }

    private void Halves(byte** rows, float* query, float* sums)
    {
        short* a = (short*)rows[0],
            b = (short*)rows[1],
            c = (short*)rows[2],
            d = (short*)rows[3];
        var (sa, sb, sc, sd) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
        var (mask, i) = (Vector256.Create(unchecked((int)0x8FFFE000)), 0L);
        for (; i + 8 <= _width; i += 8)
        {
            var q = Vector256.Load(query + i);
            sa = Fma.MultiplyAdd(((Avx2.ConvertToVector256Int32(a + i) << 13) & mask).AsSingle(), q, sa);
            sb = Fma.MultiplyAdd(((Avx2.ConvertToVector256Int32(b + i) << 13) & mask).AsSingle(), q, sb);
            sc = Fma.MultiplyAdd(((Avx2.ConvertToVector256Int32(c + i) << 13) & mask).AsSingle(), q, sc);
            sd = Fma.MultiplyAdd(((Avx2.ConvertToVector256Int32(d + i) << 13) & mask).AsSingle(), q, sd);
        }

        (sums[0], sums[1], sums[2], sums[3]) = (
            Vector256.Sum(sa) + EndOf(a, query, i),
            Vector256.Sum(sb) + EndOf(b, query, i),
            Vector256.Sum(sc) + EndOf(c, query, i),
            Vector256.Sum(sd) + EndOf(d, query, i)
        );
    }

    private void WideHalf(byte** rows, float* query, float* sums)
    {
        short* a = (short*)rows[0],
            b = (short*)rows[1],
            c = (short*)rows[2],
            d = (short*)rows[3];
        var (sa, sb, sc, sd) = (Vector512<float>.Zero, Vector512<float>.Zero, Vector512<float>.Zero, Vector512<float>.Zero);
        var (mask, i) = (Vector512.Create(unchecked((int)0x8FFFE000)), 0L);
        for (; i + 16 <= _width; i += 16)
        {
            var q = Vector512.Load(query + i);
            sa = Avx512F.FusedMultiplyAdd(((Avx512F.ConvertToVector512Int32(Vector256.Load(a + i)) << 13) & mask).AsSingle(), q, sa);
            sb = Avx512F.FusedMultiplyAdd(((Avx512F.ConvertToVector512Int32(Vector256.Load(b + i)) << 13) & mask).AsSingle(), q, sb);
            sc = Avx512F.FusedMultiplyAdd(((Avx512F.ConvertToVector512Int32(Vector256.Load(c + i)) << 13) & mask).AsSingle(), q, sc);
            sd = Avx512F.FusedMultiplyAdd(((Avx512F.ConvertToVector512Int32(Vector256.Load(d + i)) << 13) & mask).AsSingle(), q, sd);
        }

        (sums[0], sums[1], sums[2], sums[3]) = (
            Vector512.Sum(sa) + EndOf(a, query, i),
            Vector512.Sum(sb) + EndOf(b, query, i),
            Vector512.Sum(sc) + EndOf(c, query, i),
            Vector512.Sum(sd) + EndOf(d, query, i)
        );
    }

    private void Singles(byte** rows, float* query, float* sums)
    {
        float* a = (float*)rows[0],
            b = (float*)rows[1],
            c = (float*)rows[2],
            d = (float*)rows[3];
        var (sa, sb, sc, sd) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
        var i = 0L;
        for (; i + 8 <= _width; i += 8)
        {
            var q = Vector256.Load(query + i);
            sa = Fma.MultiplyAdd(Vector256.Load(a + i), q, sa);
            sb = Fma.MultiplyAdd(Vector256.Load(b + i), q, sb);
            sc = Fma.MultiplyAdd(Vector256.Load(c + i), q, sc);
            sd = Fma.MultiplyAdd(Vector256.Load(d + i), q, sd);
        }

        var (ea, eb, ec, ed) = (0f, 0f, 0f, 0f);
        for (; i < _width; i++)
        {
            (ea, eb, ec, ed) = (ea + (a[i] * query[i]), eb + (b[i] * query[i]), ec + (c[i] * query[i]), ed + (d[i] * query[i]));
        }

        (sums[0], sums[1], sums[2], sums[3]) = (
            Vector256.Sum(sa) + ea,
            Vector256.Sum(sb) + eb,
            Vector256.Sum(sc) + ec,
            Vector256.Sum(sd) + ed
        );
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float EndOf(short* row, float* query, long from)
    {
        var sum = 0f;
        for (var i = from; i < _width; i++)
        {
            sum += BitConverter.Int32BitsToSingle((row[i] << 13) & unchecked((int)0x8FFFE000)) * query[i];
        }

        return sum;
    }
}
