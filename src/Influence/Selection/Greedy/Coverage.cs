using System.Numerics;
using System.Runtime.InteropServices;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>How well points are covered by what was picked: each by its most similar pick.</summary>
internal abstract class Coverage : IDisposable
{
    public abstract int Count { get; }

    /// <summary>How many gains are best asked for at once.</summary>
    public abstract int Batch { get; }

    /// <summary>sum_i max(0, s(c, i) - covered_i) for each candidate c.</summary>
    public abstract double[] Gains(ReadOnlySpan<int> candidates);

    /// <summary>covered_i becomes max(covered_i, s(c, i)).</summary>
    public abstract void Add(int candidate);

    public abstract void Dispose();
}

/// <summary>All similarities in memory: n^2 float32 numbers.</summary>
internal sealed class DenseCoverage : Coverage
{
    private readonly Tensor _similarities;
    private readonly float[] _covered;

    /// <param name="similarities">Between the points.</param>
    /// <param name="points"><c>[n, d]</c>.</param>
    /// <param name="covered">What covers each point before the first pick.</param>
    public DenseCoverage(Similarities similarities, Tensor points, float[] covered)
    {
        using var scope = NewDisposeScope();
        // [n, n]
        _similarities = similarities.Between(points, points).to_type(ScalarType.Float32).cpu().contiguous().DetachFromDisposeScope();
        _covered = covered;
    }

    public override int Count => _covered.Length;

    public override int Batch => 1;

    public override double[] Gains(ReadOnlySpan<int> candidates)
    {
        var gains = new double[candidates.Length];
        for (var i = 0; i < gains.Length; i++)
        {
            gains[i] = Gain(Row(candidates[i]), _covered);
        }

        return gains;
    }

    public override void Add(int candidate)
    {
        var row = Row(candidate);
        for (var i = 0; i < row.Length; i++)
        {
            _covered[i] = Math.Max(_covered[i], row[i]);
        }
    }

    public override void Dispose() => _similarities.Dispose();

    private static double Gain(ReadOnlySpan<float> row, ReadOnlySpan<float> covered)
    {
        var total = 0.0;
        var left = MemoryMarshal.Cast<float, Vector<float>>(row);
        var right = MemoryMarshal.Cast<float, Vector<float>>(covered);
        for (var at = 0; at < left.Length; )
        {
            // Short runs of float32, so that long sums keep their digits.
            var sum = Vector<float>.Zero;
            for (var end = Math.Min(left.Length, at + 64); at < end; at++)
            {
                sum += Vector.Max(Vector<float>.Zero, left[at] - right[at]);
            }

            total += Vector.Sum(sum);
        }

        for (var i = left.Length * Vector<float>.Count; i < row.Length; i++)
        {
            total += Math.Max(0, row[i] - covered[i]);
        }

        return total;
    }

    private ReadOnlySpan<float> Row(int candidate) => MemoryMarshal.Cast<byte, float>(_similarities.bytes).Slice(candidate * Count, Count);
}

/// <summary>Similarities are made anew each time that they are needed: n numbers of memory.</summary>
internal sealed class BlockCoverage(Similarities similarities, Tensor points, Tensor covered) : Coverage
{
    // A block that stays in the processor's cache is worth more than a large product.
    private const long Elements = 1 << 18;

    public override int Count => (int)points.shape[0];

    public override int Batch => (int)Math.Clamp(Elements / covered.shape[0], 4, 32);

    public override double[] Gains(ReadOnlySpan<int> candidates)
    {
        using var scope = NewDisposeScope();
        return Gains(FeatureBlocks.Rows(points, candidates));
    }

    public override void Add(int candidate)
    {
        using var scope = NewDisposeScope();
        Cover(points.narrow(0, candidate, 1));
    }

    public override void Dispose() { }

    /// <summary>For rows of the similarities' points, which need not be among those that are to be covered.</summary>
    public double[] Gains(Tensor rows)
    {
        var gains = new double[rows.shape[0]];
        var block = Math.Max(1, Elements / covered.shape[0]);
        for (var start = 0L; start < gains.Length; start += block)
        {
            using var step = NewDisposeScope();
            var some = rows.narrow(0, start, Math.Min(block, gains.Length - start)); // [b, d]
            var gain = similarities.Between(some, points).sub_(covered).clamp_(min: Kept(0)).sum([1L]); // [b]
            gain.to_type(ScalarType.Float64).cpu().data<double>().CopyTo(gains, (int)start);
        }

        return gains;
    }

    /// <summary>Picks a row, <c>[1, d]</c>.</summary>
    public void Cover(Tensor row)
    {
        using var scope = NewDisposeScope();
        covered.copy_(covered.maximum(similarities.Between(row, points).squeeze(0))); // [n]
    }
}
