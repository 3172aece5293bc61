using Influence.Evaluation;

namespace Influence.Quality.Judging;

/// <summary>Two methods that are held against each other on the same queries and subsets, by the names that they have in the
/// table.</summary>
/// <param name="Own">The one that should gain, for instance the optimizer's own form.</param>
/// <param name="Plain">The other.</param>
internal sealed record AdamPair(string Own, string Plain)
{
    /// <summary>Adds the one less the other, by LDS and by query loss difference, over the queries that both were scored on.</summary>
    public static void Add(
        IEnumerable<AdamPair> pairs,
        Judge judge,
        Retraining.Result runs,
        ScoredMethods scored,
        QueryLosses? losses,
        Bootstrap bootstrap
    )
    {
        foreach (var pair in pairs)
        {
            if (scored.Find(pair.Plain) is not { } plain || scored.Find(pair.Own) is not { } own)
            {
                continue;
            }

            var name = $"{pair.Own} less {pair.Plain}";
            var result = new ScoreComparison { Bootstrap = bootstrap }.Evaluate(runs, (pair.Plain, plain), (pair.Own, own));
            judge.Add("LDS, paired difference", name, result.Scores[1].Difference, result.QueryCount);
            if (losses?.Less(pair.Own, pair.Plain) is { } difference)
            {
                var thousandths = new Estimate(1000 * difference.Value, 1000 * difference.Lower, 1000 * difference.Upper);
                judge.Add("QLD x 1000, paired difference", name, thousandths, losses.Queries);
            }
        }
    }
}
