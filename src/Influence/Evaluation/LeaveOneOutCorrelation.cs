using Influence.Display;

namespace Influence.Evaluation;

/// <summary>
/// Scores against what leaving examples out really did: for each query, over the subsets that leave one example (or one group)
/// out, the correlation of the summed scores of what was left out with the rise of the query's loss,
/// <c>f_q(without i) - f_q(all)</c>.
/// </summary>
/// <remarks>
/// Koh and Liang, 2017, section 5. The runs are those of <see cref="Subsets.LeaveOneOut"/> or
/// <see cref="Subsets.Without(IReadOnlyList{long}, ExampleGroups)"/>; each is joined to its scores by id. For deep networks the
/// effect of one example is often below the noise between seeds: use several seeds, groups, or a convex model.
/// </remarks>
public sealed record LeaveOneOutCorrelation
{
    /// <summary>How intervals are made: over queries and left-out examples, both drawn again.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Compares scores with runs.</summary>
    /// <param name="scores">Scores of every training example of the runs; its queries may be some of the runs'.</param>
    /// <param name="runs">Runs that leave examples out, at least three.</param>
    /// <returns>Correlations and slopes.</returns>
    /// <exception cref="InfluenceException">Ids that do not meet, or no query that can be judged.</exception>
    public Result Evaluate(InfluenceScores scores, Retraining.Result runs)
    {
        var predictions = SubsetPredictions.Rises(scores, runs);
        if (predictions.Columns.Count == 0)
        {
            throw DroppedQueries.NoneLeft(predictions.Dropped);
        }

        // The slope is per unit of predicted rise where the scores have that unit.
        var unit = scores.Metadata.LeaveOneOutFactor ?? 1;
        var studies = new[] { Agreement.Pearson, Agreement.Spearman, Agreement.Slope }
            .Select(a => new CorrelationStudy(predictions.Columns, a, Bootstrap))
            .ToArray();
        return new Result(
            scores.Metadata.Estimator,
            scores.Metadata.LeaveOneOutFactor is not null,
            predictions.Columns[0].Count,
            Of(0, 1),
            Of(1, 1),
            Of(2, 1 / unit),
            [.. predictions.QueryIds.Select((id, c) => (id, studies[1].Column(c, Bootstrap)))],
            predictions.Dropped,
            runs,
            new Lds { Bootstrap = Bootstrap }.Ceiling(runs, predictions.QueryIds, s => s.Count < runs.Subsets.TrainIds.Count)
        );

        Estimate Of(int study, double factor) =>
            Bootstrap.Interval(studies[study].Mean * factor, studies[study].ResampledMeans.Select(v => v * factor));
    }

    /// <summary>Scores against leaving examples out.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _name;
        private readonly Retraining.Result _runs;

        internal Result(
            string name,
            bool hasUnit,
            int removals,
            Estimate pearson,
            Estimate spearman,
            Estimate slope,
            IReadOnlyList<(long QueryId, Estimate Estimate)> queries,
            IReadOnlyList<(long QueryId, string Reason)> dropped,
            Retraining.Result runs,
            Lds.NoiseCeiling? ceiling
        )
        {
            (_name, HasUnit, Removals, Pearson, Spearman, Slope, Queries, Dropped) = (
                name,
                hasUnit,
                removals,
                pearson,
                spearman,
                slope,
                queries,
                dropped
            );
            (_runs, Ceiling) = (runs, ceiling);
        }

        /// <summary>How many subsets left something out.</summary>
        public int Removals { get; }

        /// <summary>Pearson's correlation, mean over queries.</summary>
        public Estimate Pearson { get; }

        /// <summary>Spearman's correlation, mean over queries; ties share their mean rank.</summary>
        public Estimate Spearman { get; }

        /// <summary>
        /// The measured rise per predicted rise, mean over queries: 1 where the scores have the right size. Scores without a
        /// <see cref="ScoreMetadata.LeaveOneOutFactor"/> count as they are; see <see cref="HasUnit"/>.
        /// </summary>
        public Estimate Slope { get; }

        /// <summary>Whether the scores came with the factor that turns them into rises of the loss.</summary>
        public bool HasUnit { get; }

        /// <summary>Spearman's correlation query by query, with intervals over what was left out.</summary>
        public IReadOnlyList<(long QueryId, Estimate Estimate)> Queries { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>What the noise between seeds leaves to reach, over the subsets that leave something out; null for runs with one
        /// seed.</summary>
        public Lds.NoiseCeiling? Ceiling { get; }

        /// <summary>
        /// Empty where the seeds agree with each other beyond chance. Else why the runs may be noise and no truth to judge by, with the
        /// number of seeds to add.
        /// </summary>
        public string TruthNote => SeedNoise.Note(_runs, Ceiling);

        /// <summary>A table of the three figures.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Leaving out: {_name}, {Removals:N0} removals, {Queries.Count:N0} queries, {Dropped.Count:N0} "
                    + $"dropped{(TruthNote.Length == 0 ? string.Empty : $"; {TruthNote}")}",
                ["", "mean over queries", "lower", "upper"],
                [
                    Row("Pearson", Pearson),
                    Row("Spearman", Spearman),
                    Row(HasUnit ? "slope, measured per predicted rise" : "slope, measured rise per unit of score", Slope),
                ]
            );

        private static IReadOnlyList<object> Row(string name, Estimate estimate) => [name, estimate.Value, estimate.Lower, estimate.Upper];
    }
}
