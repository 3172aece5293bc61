using System.Globalization;
using Influence.Display;
using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// How well a ranking finds labels that are known to be wrong, as a test flips some: the area under the ROC curve, average
/// precision, and the share found after checking so many.
/// </summary>
/// <remarks>
/// High scores are suspicious, as self-influence (Koh and Liang, 2017, section 5.4; Pruthi et al., 2020, section 4.1) and the
/// loss are; turn a margin's sign first. Equal scores have no order: a constant score has an area of one half.
/// </remarks>
public sealed record MislabelDetection
{
    /// <summary>The shares of the examples to check for which <see cref="MislabelDetection.Result.Recalls"/> are reported.</summary>
    /// <value>0.05, 0.1, 0.2 and 0.3.</value>
    public IReadOnlyList<double> Shares
    {
        get;
        init =>
            field =
                value is not null && value.All(s => s is > 0 and <= 1)
                    ? [.. value]
                    : throw new InfluenceException("Shares lie above 0, and at 1 at most: Shares = [0.1, 0.2].");
    } = [0.05, 0.1, 0.2, 0.3];

    /// <summary>How intervals are made: over examples, the wrong and the right ones each among themselves.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Judges a ranking.</summary>
    /// <param name="scores">One score an example, high = suspicious.</param>
    /// <param name="mislabelled">The ids whose labels are wrong.</param>
    /// <returns>The figures.</returns>
    /// <exception cref="InfluenceException">Scores that are no numbers, ids without a score, or no wrong or no right label.</exception>
    public Result Evaluate(ExampleScores scores, IEnumerable<long> mislabelled)
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(mislabelled);
        var wrong = mislabelled.ToHashSet();
        var problems = new List<string>();
        var unknown = wrong.Except(scores.Ids).ToList();
        if (unknown.Count > 0)
        {
            problems.Add($"These mislabelled examples have no score: ids {InfluenceException.List(unknown)}.");
        }

        var broken = scores.Ids.Where((_, i) => double.IsNaN(scores[i])).ToList();
        if (broken.Count > 0)
        {
            problems.Add($"These examples have no number for a score: ids {InfluenceException.List(broken)}.");
        }

        if (problems.Count == 0 && (wrong.Count == 0 || wrong.Count == scores.Count))
        {
            problems.Add($"Wrong and right labels are both needed; found {wrong.Count} wrong ones of {scores.Count}.");
        }

        InfluenceException.ThrowIfAny(problems);
        bool[] isWrong = [.. scores.Ids.Select(wrong.Contains)];
        var ranked = new RankedLabels([.. scores.Values], isWrong);
        var draws = ParallelEnumerable
            .Range(0, Bootstrap.Resamples)
            .AsOrdered()
            .Select(r => Draw(isWrong, wrong.Count, r))
            .Select(counts =>
                (
                    Auc: ranked.Auc(counts),
                    Precision: ranked.AveragePrecision(counts),
                    Recalls: Shares.Select(s => ranked.Found(s * scores.Count, counts) / wrong.Count).ToArray()
                )
            )
            .ToList();
        return new Result(
            scores.Title,
            scores.Count,
            wrong.Count,
            Bootstrap.Interval(ranked.Auc(), draws.Select(d => d.Auc)),
            Bootstrap.Interval(ranked.AveragePrecision(), draws.Select(d => d.Precision)),
            [
                .. Shares.Select(
                    (s, k) => (s, Bootstrap.Interval(ranked.Found(s * scores.Count) / wrong.Count, draws.Select(d => d.Recalls[k])))
                ),
            ],
            ranked
        );
    }

    /// <summary>Wrong labels drawn from the wrong ones, right labels from the right ones, as many of each as there are.</summary>
    private int[] Draw(bool[] isWrong, int wrongCount, int resample)
    {
        var wrong = new KeyedRandom(Bootstrap.Seed, "wrong labels", resample).Counts(wrongCount);
        var right = new KeyedRandom(Bootstrap.Seed, "right labels", resample).Counts(isWrong.Length - wrongCount);
        var (counts, w, r) = (new int[isWrong.Length], 0, 0);
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] = isWrong[i] ? wrong[w++] : right[r++];
        }

        return counts;
    }

    /// <summary>How well a ranking finds wrong labels.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _name;
        private readonly RankedLabels _ranked;

        internal Result(
            string name,
            int count,
            int wrongCount,
            Estimate auc,
            Estimate averagePrecision,
            IReadOnlyList<(double Share, Estimate Recall)> recalls,
            RankedLabels ranked
        )
        {
            (_name, Count, MislabelledCount, Auc, AveragePrecision, Recalls, _ranked) = (
                name,
                count,
                wrongCount,
                auc,
                averagePrecision,
                recalls,
                ranked
            );
        }

        /// <summary>The number of examples.</summary>
        public int Count { get; }

        /// <summary>The number of wrong labels.</summary>
        public int MislabelledCount { get; }

        /// <summary>The probability that a wrong label scores higher than a right one, equal scores counted half.</summary>
        public Estimate Auc { get; }

        /// <summary>The area under the curve of precision over recall, as a sum over thresholds.</summary>
        public Estimate AveragePrecision { get; }

        /// <summary>The share of the wrong labels among so many of the examples with the highest scores.</summary>
        public IReadOnlyList<(double Share, Estimate Recall)> Recalls { get; }

        /// <summary>The share of the wrong labels found after checking 0, 1, ... 100 percent of the examples.</summary>
        public IReadOnlyList<(double Share, double Recall)> Curve =>
            [.. Enumerable.Range(0, 101).Select(p => (p / 100.0, RecallAt(p / 100.0)))];

        /// <summary>The share of the wrong labels among the first so many; of a tie the expected share.</summary>
        /// <param name="share">The share of the examples that are checked, 0 to 1.</param>
        /// <returns>0 to 1.</returns>
        public double RecallAt(double share) =>
            share is >= 0 and <= 1
                ? _ranked.Found(share * Count) / MislabelledCount
                : throw new InfluenceException($"A share lies between 0 and 1; found {share}.");

        /// <summary>A table of the figures.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"{_name}: {MislabelledCount:N0} wrong labels among {Count:N0}",
                ["", "value", "lower", "upper"],
                [
                    Row("AUC", Auc),
                    Row("average precision", AveragePrecision),
                    .. Recalls.Select(r =>
                        Row(string.Create(CultureInfo.InvariantCulture, $"found after checking {r.Share:0.##%}"), r.Recall)
                    ),
                ]
            );

        private static IReadOnlyList<object> Row(string name, Estimate estimate) => [name, estimate.Value, estimate.Lower, estimate.Upper];
    }
}
