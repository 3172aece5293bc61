using Influence.Evaluation;

namespace Influence.Quality.Judging;

/// <summary>Methods in two forms, the plain one and that of the optimizer that trained the model, by the names that they have in the table.</summary>
/// <param name="Plain">The formula of plain SGD.</param>
/// <param name="Own">The optimizer's form.</param>
internal sealed record AdamPair(string Plain, string Own)
{
    /// <summary>Adds the optimizer's form less the plain one, by LDS and by query loss difference.</summary>
    public static void Add(IEnumerable<AdamPair> pairs, Judge judge, RetrainingRuns runs, ScoredMethods scored, QueryLosses? losses, Bootstrap bootstrap)
    {
        foreach (var pair in pairs)
        {
            if (scored.Find(pair.Plain) is not { } plain || scored.Find(pair.Own) is not { } own)
            {
                continue;
            }

            var result = new ScoreComparison { Bootstrap = bootstrap }.Evaluate(runs, (pair.Plain, plain), (pair.Own, own));
            judge.Add("LDS, the optimizer's form less the plain one", pair.Own, result.Scores[1].Difference, result.QueryCount);
            if (losses?.Less(pair.Own, pair.Plain) is { } difference)
            {
                judge.Add("QLD x 1000, the optimizer's form less the plain one", pair.Own, new Estimate(1000 * difference.Value, 1000 * difference.Lower, 1000 * difference.Upper), result.QueryCount);
            }
        }
    }
}
