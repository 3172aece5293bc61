using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The weights W <c>[O, I]</c> of a product over eigen-directions, sum over o, i of W[o, i] q[o, i] z[o, i], in bands of rows. In a
/// band the leading columns keep their own weights; the others, where eigenvalues hardly reach the damping, share one weight a
/// column, so that their part is a plain ghost product.
/// </summary>
/// <remarks>
/// The error of a pair is bounded by Cauchy and Schwarz: |error| at most sqrt(r(q) r(z)) sqrt(s(q,q) s(z,z)) with r(x) = sum of
/// |W~ - W| x^2 over sum of W x^2. Bands are cut so that r is within the tolerance on average over the fit's examples, and r is
/// checked for each example that is scored: where it is too large, the exact weights are used.
/// </remarks>
internal sealed class SpectralWeights : IDisposable
{
    /// <summary>Narrow enough that the rows of a band have similar eigenvalues, wide enough that ghost products are few.</summary>
    private const long BandRows = 16;

    /// <summary>The mean of r over the fit's examples, in tolerances: low enough that few single examples exceed one tolerance.</summary>
    private const double MeanShare = 0.5;

    /// <summary>The share of exact products that bands must save: their ghost products and the bounds of examples take about a third
    /// of the time of all.</summary>
    private const double LeastSaved = 0.4;

    private SpectralWeights(Tensor weights, IReadOnlyList<Band> bands, Tensor? error, double tolerance)
    {
        (Weights, Bands, Error, Tolerance) = (weights, bands, error, tolerance);
    }

    /// <summary>The mean of x^2 over the fit's examples where exact weights may be searched by a cheaper form; owned.</summary>
    public Tensor? Energy { get; private init; }

    /// <summary>Few outer products in place of bands; owned.</summary>
    public SpectralTerms? Terms { get; private init; }

    /// <summary>W; not owned.</summary>
    public Tensor Weights { get; }

    public IReadOnlyList<Band> Bands { get; }

    /// <summary>|W~ - W|; null where nothing is approximated.</summary>
    public Tensor? Error { get; }

    public double Tolerance { get; }

    /// <summary>All columns with their own weights.</summary>
    /// <param name="weights">W.</param>
    /// <param name="energy">Optional: the mean of x^2 over examples, for a search of the strongest pairs; owned from here.</param>
    public static SpectralWeights Exact(Tensor weights, Tensor? energy = null) =>
        new(weights, [.. Cut(weights.shape[0]).Select(b => new Band(b.Row, b.Rows, 0, null))], null, 0) { Energy = energy };

    /// <summary>Few outer products within a tolerance, as of weights 1/(a g + damping); null where they would save less than
    /// half.</summary>
    /// <param name="weights">W.</param>
    /// <param name="energy">The mean of x^2 over examples, <c>[O, I]</c>: the eigenvalues.</param>
    /// <param name="tolerance">The relative error.</param>
    public static SpectralWeights? InTerms(Tensor weights, Tensor energy, double tolerance)
    {
        var (o, i) = (weights.shape[0], weights.shape[1]);
        return SpectralTerms.Within(weights, energy, MeanShare * tolerance, tolerance, o * i / (2 * (o + i))) is { } terms
            ? new(weights, [], terms.IsWithin(weights, tolerance) ? null : terms.Error.clone().DetachFromDisposeScope(), tolerance)
            {
                Terms = terms,
            }
            : null;
    }

    /// <summary>Bands within a tolerance; the exact ones where that saves too little for the bands' own products.</summary>
    /// <param name="weights">W.</param>
    /// <param name="energy">The mean of x^2 over examples, <c>[O, I]</c>: the eigenvalues. Rows and columns ascend.</param>
    /// <param name="tolerance">The relative error.</param>
    public static SpectralWeights Within(Tensor weights, Tensor energy, double tolerance)
    {
        using var scope = NewDisposeScope();
        var columns = weights.shape[1];
        var cut = Cut(weights.shape[0]).ToList();
        var common = new List<Tensor>();
        var errors = new List<double[]>();
        foreach (var (row, rows) in cut)
        {
            var (w, e) = (
                weights.narrow(0, row, rows).to_type(ScalarType.Float64),
                energy.narrow(0, row, rows).to_type(ScalarType.Float64) + Kept(1e-300)
            );
            var shared = (w * e).sum(0L) / e.sum(0L); // [I]
            common.Add(shared);
            errors.Add(((shared.unsqueeze(0) - w).abs() * e).sum(0L).cpu().data<double>().ToArray());
        }

        var total = (weights.to_type(ScalarType.Float64) * energy.to_type(ScalarType.Float64)).sum().item<double>();
        var own = Columns(errors, MeanShare * tolerance * total);
        var saved = cut.Zip(own, (band, first) => (double)(first * (band.Rows - 1))).Sum() / (weights.shape[0] * columns);
        if (saved < LeastSaved)
        {
            return Exact(weights);
        }

        var error = zeros_like(weights);
        var bands = new List<Band>();
        for (var k = 0; k < cut.Count; k++)
        {
            var (row, rows) = cut[k];
            var shared = common[k].narrow(0, 0, own[k]).to_type(weights.dtype).to(weights.device);
            var region = weights.narrow(0, row, rows).narrow(1, 0, own[k]);
            error.narrow(0, row, rows).narrow(1, 0, own[k]).copy_((region - shared.unsqueeze(0)).abs());
            bands.Add(new Band(row, rows, own[k], shared.clone().DetachFromDisposeScope()));
        }

        return new SpectralWeights(weights, bands, error.DetachFromDisposeScope(), tolerance);
    }

    /// <summary>r of each example, <c>[B]</c>, from squared coordinates.</summary>
    public Tensor Ratio(Tensor squaredActivation, Tensor squaredOutputGradient)
    {
        using var scope = NewDisposeScope();
        var error = squaredOutputGradient.mm(Error!).mul_(squaredActivation).sum(1);
        var whole = squaredOutputGradient.mm(Weights).mul_(squaredActivation).sum(1);
        return (error / whole).nan_to_num(0, 0, 0).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        Error?.Dispose();
        Energy?.Dispose();
        Terms?.Dispose();
        foreach (var band in Bands)
        {
            band.Common?.Dispose();
        }
    }

    private static IEnumerable<(long Row, long Rows)> Cut(long rows)
    {
        for (long row = 0; row < rows; row += BandRows)
        {
            yield return (row, Math.Min(BandRows, rows - row));
        }
    }

    /// <summary>For each band the first column with weights of its own: one threshold for all, the largest that the budget
    /// allows.</summary>
    private static long[] Columns(List<double[]> errors, double budget)
    {
        var candidates = errors.SelectMany(e => e).Order().ToArray();
        var (low, high) = (-1, candidates.Length - 1);
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            var cost = errors.Sum(e => e.Take((int)Prefix(e, candidates[middle])).Sum());
            (low, high) = cost <= budget ? (middle, high) : (low, middle - 1);
        }

        return [.. errors.Select(e => low < 0 ? 0 : Prefix(e, candidates[low]))];

        static long Prefix(double[] errors, double threshold)
        {
            var end = Array.FindIndex(errors, e => e > threshold);
            return end < 0 ? errors.Length : end;
        }
    }

    /// <summary>Some rows of W.</summary>
    /// <param name="Row">The first row.</param>
    /// <param name="Rows">The number of rows.</param>
    /// <param name="Own">The first column whose weights are each row's own.</param>
    /// <param name="Common">The shared weights of the columns before, <c>[Own]</c>; null where there are none.</param>
    internal sealed record Band(long Row, long Rows, long Own, Tensor? Common);
}
