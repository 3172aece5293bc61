using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// Ridge regression of all queries at once through the Gram matrix of the masks, <c>K = m m'</c> [M, M]:
/// <c>w = m' (K + penalty M I)^-1 (y - mean)</c>. One eigendecomposition serves every penalty.
/// </summary>
internal sealed class RidgeFit
{
    private readonly int _m;
    private readonly int _n;
    private readonly double[] _masks;
    private readonly double[] _maskMeans;
    private readonly double[] _vectors;
    private readonly double[] _values;
    private readonly double[] _rewards;
    private readonly double[] _rewardMeans;
    private readonly double _meanEigenvalue;

    public RidgeFit(Subsets subsets, int[] rows, double[][] rewards)
    {
        using var scope = NewDisposeScope();
        (_m, _n) = (rows.Length, subsets.TrainIds.Count);
        var masks = Masks(subsets, rows); // [M, N]
        var means = masks.mean([0L]); // [N]
        var centred = masks - means; // [M, N]
        var gram = centred.mm(centred.t()); // [M, M]
        var (values, vectors) = linalg.eigh((gram + gram.t()) * Kept(0.5)); // [M], [M, M]
        var y = tensor(rewards.SelectMany(r => rows.Select(j => r[j])).ToArray()).reshape(rewards.Length, _m); // [Q, M]
        var rewardMeans = y.mean([1L], keepdim: true); // [Q, 1]
        (_masks, _maskMeans) = (Array(centred), Array(means));
        (_values, _vectors) = ([.. Array(values).Select(v => Math.Max(0, v))], Array(vectors));
        (_rewards, _rewardMeans) = (Array((y - rewardMeans).mm(vectors)), Array(rewardMeans));
        _meanEigenvalue = _values.Sum() / _m / _m;
    }

    /// <summary>What the fit at a penalty says of subsets, query by query.</summary>
    public double[][] Predict(Subsets subsets, int[] rows, double share)
    {
        var (weights, intercepts) = Weights([.. _rewardMeans.Select(_ => share)]);
        return [.. weights.Select((w, q) => rows.Select(j => intercepts[q] + w.Where((_, i) => subsets[j].Contains(i)).Sum()).ToArray())];
    }

    /// <summary>Weights <c>[Q][N]</c> and intercepts, with a penalty for each query.</summary>
    public (double[][] Weights, double[] Intercepts) Weights(double[] shares)
    {
        using var scope = NewDisposeScope();
        var scaled = new double[_rewards.Length];
        for (var q = 0; q < shares.Length; q++)
        {
            for (var k = 0; k < _m; k++)
            {
                scaled[(q * _m) + k] = _rewards[(q * _m) + k] / (_values[k] + (shares[q] * _meanEigenvalue * _m));
            }
        }

        var dual = tensor(scaled).reshape(shares.Length, _m).mm(tensor(_vectors).reshape(_m, _m).t()); // [Q, M]
        var weights = dual.mm(tensor(_masks).reshape(_m, _n)); // [Q, N]
        var offsets = Array(weights.mm(tensor(_maskMeans).reshape(_n, 1))); // [Q]
        return ([.. Array(weights).Chunk(_n)], [.. _rewardMeans.Zip(offsets, (mean, offset) => mean - offset)]);
    }

    private static Tensor Masks(Subsets subsets, int[] rows)
    {
        var (n, values) = (subsets.TrainIds.Count, new double[rows.Length * subsets.TrainIds.Count]);
        for (var k = 0; k < rows.Length; k++)
        {
            for (var i = 0; i < n; i++)
            {
                values[(k * n) + i] = subsets[rows[k]].Contains(i) ? 1 : 0;
            }
        }

        return tensor(values).reshape(rows.Length, n);
    }

    private static double[] Array(Tensor values) => values.contiguous().data<double>().ToArray();
}
