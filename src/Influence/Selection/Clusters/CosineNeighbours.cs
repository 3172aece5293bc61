using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Each candidate's nearest others by cosine similarity, nearest first: a directed graph.</summary>
/// <remarks>Exact. N^2 d multiplications; the similarities are made for some rows at a time, 64 MiB in float32.</remarks>
internal sealed class CosineNeighbours
{
    private readonly long[] _neighbours;
    private readonly float[] _similarities;

    /// <summary>Finds them; a candidate has fewer than <paramref name="count"/> where there are no more others.</summary>
    public CosineNeighbours(Tensor features, int count, Action<long, long> report)
    {
        using var scope = NewDisposeScope();
        var n = features.shape[0];
        Count = (int)Math.Min(count, n - 1);
        (_neighbours, _similarities) = (new long[n * Count], new float[n * Count]);
        if (Count == 0)
        {
            return;
        }

        var unit = FeatureBlocks.Normalised(features); // [N, d]
        var transposed = unit.t(); // [d, N]
        foreach (var (start, length) in FeatureBlocks.Of(n, n))
        {
            using var block = NewDisposeScope();
            var similarities = unit.narrow(0, start, length).mm(transposed); // [b, N]
            var self = arange(Kept(start), Kept(start + length), ScalarType.Int64, features.device).unsqueeze(1); // [b, 1]
            similarities.scatter_(1, self, full([length, 1], Kept(-2), similarities.dtype, features.device));
            var (values, indexes) = similarities.topk(Count, 1); // [b, k]
            values.to_type(ScalarType.Float32).cpu().data<float>().CopyTo(_similarities, checked((int)(start * Count)));
            indexes.cpu().data<long>().CopyTo(_neighbours, checked((int)(start * Count)));
            report(start + length, n);
        }
    }

    /// <summary>How many each candidate has.</summary>
    public int Count { get; }

    /// <summary>The neighbours of a candidate.</summary>
    public ReadOnlySpan<long> Of(int position) => _neighbours.AsSpan(position * Count, Count);

    /// <summary>The cosines, in step with <see cref="Of"/>.</summary>
    public ReadOnlySpan<float> Similarities(int position) => _similarities.AsSpan(position * Count, Count);
}
