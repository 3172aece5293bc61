using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>Similarities between candidates, made in blocks when they are asked for.</summary>
internal sealed class Similarities : IDisposable
{
    /// <summary>The largest distance is found by comparing all pairs up to so many candidates.</summary>
    private const int AllPairs = 8192;

    private readonly FeatureSimilarity _kind;
    private readonly double _largest;

    public Similarities(Tensor features, FeatureSimilarity kind)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        _kind = kind;
        // Distances by products lose digits far from the origin; moving all points changes none of them.
        Unit = kind == FeatureSimilarity.Cosine ? 1 : PowerOfTwo.Of(features);
        Points = (
            kind == FeatureSimilarity.Cosine
                ? FeatureBlocks.Normalised(features)
                : (features / Kept(Unit)).sub_(FeatureBlocks.Mean(features, Unit))
        ).DetachFromDisposeScope();
        _largest = kind == FeatureSimilarity.Cosine ? 0 : Largest();
    }

    /// <summary>What similarities by distance are divided by, so that squares stay within the dtype; 1 for cosine.</summary>
    public double Unit { get; }

    /// <summary><c>[N, d]</c>: unit rows for cosine, centred rows divided by <see cref="Unit"/> for distances.</summary>
    public Tensor Points { get; }

    public int Count => (int)Points.shape[0];

    /// <summary><c>[a, b]</c>, in <see cref="Unit"/>, between rows of <see cref="Points"/>.</summary>
    public Tensor Between(Tensor left, Tensor right)
    {
        using var scope = NewDisposeScope();
        return (
            _kind == FeatureSimilarity.Cosine
                ? left.mm(right.t()).add_(Kept(1)).mul_(Kept(0.5))
                : Distances(left, right).neg().add_(Kept(_largest))
        ).MoveToOuterDisposeScope();
    }

    /// <summary>The rows of <see cref="Points"/> at some positions.</summary>
    public Tensor At(ReadOnlySpan<int> positions) => FeatureBlocks.Rows(Points, positions);

    public void Dispose() => Points.Dispose();

    private Tensor Distances(Tensor left, Tensor right) => cdist(left, right, _kind == FeatureSimilarity.Manhattan ? 1 : 2);

    private double Largest()
    {
        using var scope = NewDisposeScope();
        if (Count > AllPairs)
        {
            var center = zeros([1, Points.shape[1]], Points.dtype, Points.device); // [1, d]
            return 2 * Distances(Points, center).max().to_type(ScalarType.Float64).item<double>();
        }

        var largest = 0.0;
        foreach (var (start, length) in FeatureBlocks.Of(Count, Count))
        {
            using var step = NewDisposeScope();
            largest = Math.Max(
                largest,
                Distances(Points.narrow(0, start, length), Points).max().to_type(ScalarType.Float64).item<double>()
            );
        }

        return largest;
    }
}
