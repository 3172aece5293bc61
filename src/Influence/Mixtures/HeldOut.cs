using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>How well a way of fitting ranks mixtures that it did not see.</summary>
internal static class HeldOut
{
    /// <summary>Spearman's correlation of all values with predictions by a fit to the other folds; NaN where it is not defined.</summary>
    public static double RankCorrelation(
        IReadOnlyList<EvaluatedMixture> observed, int folds, long seed, Func<IReadOnlyList<EvaluatedMixture>, Func<Mixture, double>> fit)
    {
        folds = Math.Min(folds, observed.Count);
        var order = new KeyedRandom(seed, "folds").Order(observed.Count);
        var predicted = new double[observed.Count];
        for (var fold = 0; fold < folds; fold++)
        {
            var predict = fit([.. order.Where((_, position) => position % folds != fold).Select(i => observed[i])]);
            foreach (var i in order.Where((_, position) => position % folds == fold))
            {
                predicted[i] = predict(observed[i].Mixture);
            }
        }

        return Spearman([.. observed.Select(o => o.Value)], predicted);
    }

    /// <summary>Pearson's correlation of ranks, ties averaged.</summary>
    public static double Spearman(double[] a, double[] b)
    {
        var (x, y) = (AverageRanks.Of(a), AverageRanks.Of(b));
        var mean = (a.Length + 1) / 2.0;
        double xy = 0, xx = 0, yy = 0;
        for (var i = 0; i < x.Length; i++)
        {
            xy += (x[i] - mean) * (y[i] - mean);
            xx += (x[i] - mean) * (x[i] - mean);
            yy += (y[i] - mean) * (y[i] - mean);
        }

        return xx > 0 && yy > 0 ? xy / Math.Sqrt(xx * yy) : double.NaN;
    }
}
