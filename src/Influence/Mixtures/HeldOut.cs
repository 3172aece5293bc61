using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>How well a way of fitting ranks mixtures that it did not see.</summary>
internal static class HeldOut
{
    /// <summary>Spearman's correlation of all values with predictions by a fit to the other folds; NaN where it is not defined.</summary>
    public static double RankCorrelation(
        IReadOnlyList<Mixture.Point> observed,
        int folds,
        long seed,
        Func<IReadOnlyList<Mixture.Point>, Func<Mixture, double>> fit
    )
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

        return Ranks.Spearman([.. observed.Select(o => o.Value)], predicted);
    }
}
