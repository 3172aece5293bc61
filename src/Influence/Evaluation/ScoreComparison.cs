using Influence.Display;

namespace Influence.Evaluation;

/// <summary>
/// Several sets of scores, from anywhere, judged by the same runs on the same queries: each one's linear datamodeling score,
/// and its difference from the first with an interval over paired resamples (the same queries and subsets for all).
/// </summary>
/// <remarks>
/// Scores of other tools come in by <see cref="InfluenceScores.Load"/>. Turn their sign first where they have another: here
/// positive means proponent.
/// </remarks>
public sealed record ScoreComparison
{
    /// <summary>How intervals are made.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Judges the scores.</summary>
    /// <param name="runs">Runs on at least three subsets.</param>
    /// <param name="scores">Name and scores; the first is the one that the others are measured from. They stay the caller's.</param>
    /// <returns>One line for each.</returns>
    /// <exception cref="InfluenceException">Names that repeat, ids that do not meet, or no query that all can be judged by.</exception>
    public Result Evaluate(Retraining.Result runs, params (string Name, InfluenceScores Scores)[] scores)
    {
        ArgumentNullException.ThrowIfNull(runs);
        ArgumentNullException.ThrowIfNull(scores);
        if (scores.Length == 0 || scores.Select(s => s.Name).Distinct().Count() != scores.Length)
        {
            throw new InfluenceException(
                "Scores to compare, each with a name of its own, are needed; found "
                    + $"{InfluenceException.List([.. scores.Select(s => $"\"{s.Name}\"")])}."
            );
        }

        var predictions = scores.Select(s => SubsetPredictions.Rewards(s.Scores, runs)).ToArray();

        // A query counts where every method can be judged by it.
        long[] common = [.. predictions[0].QueryIds.Where(id => predictions.All(p => p.QueryIds.Contains(id)))];
        if (common.Length == 0)
        {
            throw new InfluenceException("No query can be judged for all of the scores: compare scores of the same queries.");
        }

        var studies = predictions
            .Select(p =>
            {
                var position = p.QueryIds.Select((id, c) => (id, c)).ToDictionary(x => x.id, x => x.c);
                return new CorrelationStudy([.. common.Select(id => p.Columns[position[id]])], Agreement.Spearman, Bootstrap);
            })
            .ToArray();
        var all = predictions.SelectMany(p => p.QueryIds.Concat(p.Dropped.Select(d => d.QueryId))).Distinct().Count();
        return new Result(
            runs,
            common.Length,
            all - common.Length,
            [
                .. scores.Select(
                    (s, k) =>
                        new Row(
                            s.Name,
                            Bootstrap.Interval(studies[k].Mean, studies[k].ResampledMeans),
                            Bootstrap.Interval(
                                studies[k].Mean - studies[0].Mean,
                                studies[k].ResampledMeans.Zip(studies[0].ResampledMeans, (a, b) => a - b)
                            ),
                            k == 0
                                ? double.NaN
                                : studies[k].ResampledMeans.Zip(studies[0].ResampledMeans).Count(p => p.First > p.Second)
                                    / Math.Max(1.0, Bootstrap.Resamples)
                        )
                ),
            ]
        );
    }

    /// <summary>One of several sets of scores.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Lds">Its mean linear datamodeling score.</param>
    /// <param name="Difference">That less the first one's, over paired resamples.</param>
    /// <param name="ShareBetter">The share of the resamples in which it is better than the first; NaN for the first.</param>
    public sealed record Row(string Name, Estimate Lds, Estimate Difference, double ShareBetter);

    /// <summary>Several sets of scores on equal terms.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly Retraining.Result _runs;

        internal Result(Retraining.Result runs, int queries, int dropped, IReadOnlyList<Row> scores) =>
            (_runs, QueryCount, DroppedCount, Scores) = (runs, queries, dropped, scores);

        /// <summary>The scores, in the order given.</summary>
        public IReadOnlyList<Row> Scores { get; }

        /// <summary>The queries that all were judged by.</summary>
        public int QueryCount { get; }

        /// <summary>Queries that not all could be judged by.</summary>
        public int DroppedCount { get; }

        /// <summary>A table, one line for each.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"LDS over {_runs.Subsets.Count:N0} subsets ({_runs.Count:N0} runs) and {QueryCount:N0} queries, {DroppedCount:N0} dropped",
                ["scores", "LDS", "lower", "upper", $"less {Scores[0].Name}", "lower", "upper"],
                [
                    .. Scores.Select(s =>
                        (IReadOnlyList<object>)
                            [s.Name, s.Lds.Value, s.Lds.Lower, s.Lds.Upper, s.Difference.Value, s.Difference.Lower, s.Difference.Upper]
                    ),
                ]
            );
    }
}
