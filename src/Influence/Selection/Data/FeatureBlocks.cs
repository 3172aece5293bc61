using System.Runtime.InteropServices;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Features in blocks, so that memory does not grow with the number of candidates.</summary>
internal static class FeatureBlocks
{
    /// <summary>Numbers that one block of a table may have: 64 MiB of float32.</summary>
    public const long Elements = 1L << 24;

    /// <summary>Rows from <c>Start</c>, as many as <c>Length</c>; each row takes <paramref name="width"/> numbers.</summary>
    public static IEnumerable<(long Start, long Length)> Of(long rows, long width)
    {
        var block = Math.Max(1, Elements / Math.Max(1, width));
        for (var start = 0L; start < rows; start += block)
        {
            yield return (start, Math.Min(block, rows - start));
        }
    }

    /// <summary>The rows at some positions.</summary>
    public static Tensor Rows(Tensor features, ReadOnlySpan<int> positions)
    {
        using var scope = NewDisposeScope();
        var index = new long[positions.Length];
        for (var i = 0; i < index.Length; i++)
        {
            index[i] = positions[i];
        }

        return features.index_select(0, tensor(index, device: features.device)).MoveToOuterDisposeScope();
    }

    /// <summary>Rows of unit length; a row of zeros stays one. As exact as <paramref name="dtype"/>, the features' own unless
    /// given.</summary>
    public static Tensor Normalised(Tensor features, ScalarType? dtype = null)
    {
        using var scope = NewDisposeScope();
        var normalised = zeros(features.shape, dtype ?? features.dtype, features.device); // [n, d]
        foreach (var (start, length) in Of(features.shape[0], features.shape[1]))
        {
            using var step = NewDisposeScope();
            var block = features.narrow(0, start, length).to_type(normalised.dtype); // [b, d]
            // The largest entry first: squares of tiny or huge numbers would leave the range of float32.
            var scale = block.abs().amax([1L], keepdim: true); // [b, 1]
            var scaled = block / scale.masked_fill(scale.eq(Kept(0)), Kept(1)); // [b, d]
            var norms = scaled.Squared().sum([1L], keepdim: true).sqrt(); // [b, 1]
            normalised.narrow(0, start, length).copy_(scaled.div_(norms.masked_fill(norms.eq(Kept(0)), Kept(1))));
        }

        return normalised.MoveToOuterDisposeScope();
    }

    /// <summary>The squared length of each row, <c>[n]</c>.</summary>
    public static Tensor SquaredNorms(Tensor features, ScalarType? dtype = null)
    {
        using var scope = NewDisposeScope();
        var squares = new List<Tensor>();
        foreach (var (start, length) in Of(features.shape[0], features.shape[1]))
        {
            using var step = NewDisposeScope();
            squares.Add(features.narrow(0, start, length).Squared().sum([1L], type: dtype).MoveToOuterDisposeScope()); // [b]
        }

        return cat(squares).MoveToOuterDisposeScope();
    }

    /// <summary>The length of each row, whatever its size.</summary>
    public static double[] Norms(Tensor features)
    {
        var norms = new double[features.shape[0]];
        foreach (var (start, length) in Of(features.shape[0], features.shape[1]))
        {
            using var step = NewDisposeScope();
            var block = features.narrow(0, start, length); // [b, d]
            var scale = block.abs().amax([1L], keepdim: true); // [b, 1]
            // [b]
            var scaled = (block / scale.masked_fill(scale.eq(Kept(0)), Kept(1))).Squared().sum([1L], type: ScalarType.Float64).sqrt();
            ToDoubles(scaled * scale.squeeze(1)).CopyTo(norms, start);
        }

        return norms;
    }

    /// <summary>The mean row of features divided by <paramref name="unit"/>, <c>[1, d]</c>.</summary>
    public static Tensor Mean(Tensor features, double unit)
    {
        using var scope = NewDisposeScope();
        var mean = zeros([1, features.shape[1]], features.dtype, features.device); // [1, d]
        foreach (var (start, length) in Of(features.shape[0], features.shape[1]))
        {
            using var step = NewDisposeScope();
            mean.add_(
                (features.narrow(0, start, length) / Kept(unit)).mean([0L], keepdim: true) * Kept(length / (double)features.shape[0])
            );
        }

        return mean.MoveToOuterDisposeScope();
    }

    /// <summary>One float64 number a row, in managed memory.</summary>
    public static double[] ToDoubles(Tensor values)
    {
        using var scope = NewDisposeScope();
        return values.to_type(ScalarType.Float64).cpu().data<double>().ToArray();
    }

    /// <summary>The numbers of a contiguous float64 tensor on the CPU, in place.</summary>
    public static Span<double> Doubles(Tensor values) => MemoryMarshal.Cast<byte, double>(values.bytes);
}
