using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Farthest first: each pick is the candidate that is farthest from all picks so far, so that the largest distance from any
/// candidate to its nearest pick (the radius) is at most twice the smallest that so many picks can reach.
/// </summary>
/// <remarks>
/// <para>
/// Distances are euclidean. A pick's utility is its distance to the picks before it; the first one's is that of the candidate
/// farthest from it. Distances below about a thousandth of the points' distance from their mean count as zero in float32, since
/// they are taken by matrix products; candidates at distance zero come last, in order. Cost: k N d multiply-adds, so 10^13 for
/// 10^5 of 10^6 candidates in 64 dimensions, which is many minutes; memory: one number a candidate and blocks of 64 MiB.
/// </para>
/// <para>
/// Wrong where there are outliers: they are picked first. Gonzalez, <i>KMeans.Result to minimize the maximum intercluster
/// distance</i>, 1985; for data selection Sener and Savarese, ICLR 2018.
/// </para>
/// </remarks>
public sealed record KCenter : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "k-center";

    /// <summary>The id of the first pick.</summary>
    /// <value>Null, or too long for the budget: the candidate nearest to the mean.</value>
    public long? First { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return First is { } first && !pool.Ids.Contains(first)
            ? [.. NeedsFeatures(pool), $"First is the id of a candidate; the pool has no candidate of id {first}."]
            : NeedsFeatures(pool);
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        // Near 1, so that squares stay within the dtype.
        var unit = PowerOfTwo.Of(pool.Features!);
        var points = pool.Features! / Kept(unit); // [N, d]
        points.sub_(points.mean([0L], keepdim: true));
        var squares = FeatureBlocks.SquaredNorms(points); // [N]
        var first = First is { } id && picks.Fits(pool.PositionOf(id)) ? pool.PositionOf(id) : Nearest(pool, squares, picks);
        var farthest = SquaredDistances(points, squares, points.narrow(0, first, 1), squares.narrow(0, first, 1)).max();
        picks.Add(first, unit * Math.Sqrt(farthest.to_type(ScalarType.Float64).item<double>()));
        var start = full_like(squares, Kept(double.PositiveInfinity)); // [N]
        new FallingValues(points, squares, SquaredDistances).Run(start, first, 0, picks, square => unit * Math.Sqrt(square), run);
        for (var position = 0; position < pool.Count && !picks.Full; position++)
        {
            if (picks.Fits(position))
            {
                picks.Add(position, 0);
            }
        }
    }

    /// <summary>The lowest position that fits among those nearest to the mean.</summary>
    private static int Nearest(SelectionPool pool, Tensor squares, Picks picks)
    {
        var distances = FeatureBlocks.ToDoubles(squares);
        return Enumerable.Range(0, pool.Count).Where(picks.Fits).MinBy(position => distances[position]);
    }

    /// <summary><c>[n]</c>: to the nearest of the picks; zero where rounding could have made it.</summary>
    private static Tensor SquaredDistances(Tensor points, Tensor squares, Tensor picks, Tensor theirs)
    {
        using var scope = NewDisposeScope();
        // Sixteen units in the last place.
        var rounding = points.dtype == ScalarType.Float64 ? Math.ScaleB(1, -48) : Math.ScaleB(1, -19);
        var nearest = theirs.unsqueeze(0).addmm(points, picks.t(), beta: 1, alpha: -2).min(1L); // [n]
        var distances = nearest.values + squares;
        var size = squares + theirs.index_select(0, nearest.indexes);
        return distances.masked_fill(distances.le(size * Kept(rounding)), Kept(0)).MoveToOuterDisposeScope();
    }
}
