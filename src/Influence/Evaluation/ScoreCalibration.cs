using System.Globalization;
using Influence.Display;
using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// Scores in the unit of the measurement, by a few retrained models: <c>c</c> of <c>f_q(S_j) - f_q(all) = c * sum over i not in S_j of s(i,
/// q) + noise</c>, by least squares through the origin over subsets and queries, and the standard deviation of what is left over.
/// </summary>
/// <remarks>
/// <see cref="Lds"/> and <see cref="LeaveOneOutCorrelation"/> judge order, whatever the unit; this tells how large an effect a score stands
/// for, and how far to trust it. Runs without one on all examples (as of <see cref="Subsets.Chunks"/>) have no <c>f_q(all)</c>: then each
/// query has an offset of its own, that is both sides less their mean over the subsets. What is left over is the estimator's error and the
/// noise of training together: an effect far below it cannot be told from none. One <c>c</c> is for all queries, so that large effects
/// decide. It holds for removals as large as those that were retrained on. Cost: that of the sums over subsets, and for each resample M Q;
/// nothing is trained.
/// </remarks>
/// <example>
/// <code>
/// var runs = new Retraining("runs").Run(Subsets.Chunks(train.Ids, 20, seed: 0), queries.Ids, Train);
/// var calibration = new ScoreCalibration().Evaluate(scores, runs);
/// Console.WriteLine(calibration.Interval(scores[0, 3]));
/// </code>
/// </example>
public sealed record ScoreCalibration
{
    /// <summary>How intervals are made: over queries and subsets, both drawn again.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Fits the scores to runs; both are joined by id.</summary>
    /// <param name="scores">Scores of every training example of the runs; its queries may be some of the runs'.</param>
    /// <param name="runs">Runs on at least three subsets that leave something out; one on all examples may be among them.</param>
    /// <returns>The factor, and what is left over.</returns>
    /// <exception cref="InfluenceException">Ids that do not meet, too few subsets, or no query that can be judged.</exception>
    public Result Evaluate(InfluenceScores scores, Retraining.Result runs)
    {
        var predictions = SubsetPredictions.Rises(scores, runs);
        if (predictions.Columns.Count == 0)
        {
            throw DroppedQueries.NoneLeft(predictions.Dropped);
        }

        var centred = !runs.Subsets.Any(subset => subset.Count == runs.Subsets.TrainIds.Count);
        var (columns, rows) = (predictions.Columns.Count, predictions.Columns[0].Count);
        var (factor, deviation) = Fit(predictions.Columns, [.. Enumerable.Repeat(1, rows)], [.. Enumerable.Repeat(1, columns)], centred);
        var resampled = new (double Factor, double Deviation)[Bootstrap.Resamples];
        Parallel.For(
            0,
            Bootstrap.Resamples,
            r =>
            {
                var rowCounts = new KeyedRandom(Bootstrap.Seed, "subsets", r).Counts(rows);
                resampled[r] = Fit(predictions.Columns, rowCounts, new KeyedRandom(Bootstrap.Seed, "queries", r).Counts(columns), centred);
            }
        );
        return new Result(
            scores.Metadata.Estimator,
            Bootstrap.Interval(factor, resampled.Select(p => p.Factor)),
            Bootstrap.Interval(deviation, resampled.Select(p => p.Deviation)),
            (rows, columns),
            predictions.Dropped
        );
    }

    /// <summary>The factor and the residuals' standard deviation, each row and column as often as it was drawn; NaN where all sums are
    /// zero.</summary>
    private static (double Factor, double Deviation) Fit(
        IReadOnlyList<PairedColumn> columns,
        int[] rowCounts,
        int[] columnCounts,
        bool centred
    )
    {
        var (xx, xy, yy) = (0.0, 0.0, 0.0);
        var total = rowCounts.Sum();
        for (var q = 0; q < columns.Count; q++)
        {
            if (columnCounts[q] == 0)
            {
                continue;
            }

            var (x, y) = (columns[q].X, columns[q].Y);
            var (meanX, meanY) = (0.0, 0.0);
            for (var j = 0; centred && j < rowCounts.Length; j++)
            {
                meanX += rowCounts[j] * x[j] / total;
                meanY += rowCounts[j] * y[j] / total;
            }

            for (var j = 0; j < rowCounts.Length; j++)
            {
                var (weight, a, b) = ((double)rowCounts[j] * columnCounts[q], x[j] - meanX, y[j] - meanY);
                xx += weight * a * a;
                xy += weight * a * b;
                yy += weight * b * b;
            }
        }

        if (!(xx > 0))
        {
            return (double.NaN, double.NaN);
        }

        var free = ((total - (centred ? 1.0 : 0.0)) * columns.Count) - 1;
        return (xy / xx, Math.Sqrt(Math.Max(0, yy - (xy / xx * xy)) / free));
    }

    /// <summary>What a score stands for in the unit of the measurement.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _name;
        private readonly (int Subsets, int Queries) _counts;

        internal Result(
            string name,
            Estimate factor,
            Estimate deviation,
            (int Subsets, int Queries) counts,
            IReadOnlyList<(long QueryId, string Reason)> dropped
        )
        {
            (_name, Factor, ResidualDeviation, _counts, Dropped) = (name, factor, deviation, counts, dropped);
        }

        /// <summary>c: the rise of the measured loss when examples are removed whose scores sum to 1. An interval that holds 0 says that
        /// the scores tell nothing here.</summary>
        public Estimate Factor { get; }

        /// <summary>The standard deviation of the measured change about <c>c s</c>, in the unit of the measurement.</summary>
        public Estimate ResidualDeviation { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>The change that a retraining without examples of this score (or sum of scores) would measure: <c>c s</c>, give or take
        /// 2 standard deviations of the residuals.</summary>
        /// <remarks>About 95 percent where residuals are alike for all subsets and normal; the error of c itself is not in it.</remarks>
        /// <param name="score">s, of the same estimator as the fitted scores.</param>
        /// <returns>The rise of the loss and its interval.</returns>
        public Estimate Interval(double score)
        {
            var value = Factor.Value * score;
            return new Estimate(value, value - (2 * ResidualDeviation.Value), value + (2 * ResidualDeviation.Value));
        }

        /// <summary>A table of the figures.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Calibration of {_name}: {_counts.Subsets:N0} subsets, {_counts.Queries:N0} queries, {Dropped.Count:N0} dropped"
                ),
                ["", "value", "lower", "upper"],
                [
                    ["rise of the loss for removed scores that sum to 1", Factor.Value, Factor.Lower, Factor.Upper],
                    ["standard deviation of the residuals", ResidualDeviation.Value, ResidualDeviation.Lower, ResidualDeviation.Upper],
                ]
            );
    }
}
