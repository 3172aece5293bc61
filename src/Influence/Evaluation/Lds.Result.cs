using Influence.Display;

namespace Influence.Evaluation;

public sealed partial record Lds
{
    /// <summary>What the noise between seeds leaves to reach.</summary>
    /// <param name="HalfAgreement">
    /// The mean over queries of Spearman's correlation between the means of two halves of the seeds: the LDS of a second set of
    /// retrained models with half as many runs.
    /// </param>
    /// <param name="Attainable">
    /// The LDS that scores without any error would reach against the mean over all seeds, sqrt(2 r / (1 + r)) with r the half
    /// agreement (Spearman and Brown).
    /// </param>
    public sealed record NoiseCeiling(Estimate HalfAgreement, Estimate Attainable);

    /// <summary>The linear datamodeling score of a set of scores.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _name;
        private readonly Retraining.Result _runs;

        internal Result(
            string name,
            Retraining.Result runs,
            IReadOnlyList<(long QueryId, Estimate Estimate)> queries,
            Estimate mean,
            Estimate meanOverQueries,
            IReadOnlyList<(long QueryId, string Reason)> dropped,
            NoiseCeiling? ceiling
        )
        {
            (_name, _runs, Queries, Mean, MeanOverQueries, Dropped, Ceiling) = (
                name,
                runs,
                queries,
                mean,
                meanOverQueries,
                dropped,
                ceiling
            );
        }

        /// <summary>Query by query, with intervals over subsets.</summary>
        public IReadOnlyList<(long QueryId, Estimate Estimate)> Queries { get; }

        /// <summary>The mean over queries, with an interval over queries and subsets.</summary>
        public Estimate Mean { get; }

        /// <summary>The same mean with an interval over queries alone, as papers often give it: other subsets would move it more.</summary>
        public Estimate MeanOverQueries { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>What the noise between seeds leaves to reach; null for runs with one seed.</summary>
        public NoiseCeiling? Ceiling { get; }

        /// <summary>
        /// Empty where the seeds agree with each other beyond chance. Else why the runs may be noise and no truth to judge by, with the
        /// number of seeds to add: one seed a subset says nothing about its noise, and halves of the seeds whose agreement has an interval
        /// that covers zero do not tell the subsets apart.
        /// </summary>
        public string TruthNote => SeedNoise.Note(_runs, Ceiling);

        /// <summary>A table: mean, ceiling, queries.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            List<IReadOnlyList<object>> rows =
            [
                ["mean over queries", Mean.Value, Mean.Lower, Mean.Upper],
                ["the same, interval over queries only", MeanOverQueries.Value, MeanOverQueries.Lower, MeanOverQueries.Upper],
            ];
            if (Ceiling is { } ceiling)
            {
                rows.Add([
                    "noise ceiling, agreement of half the seeds",
                    ceiling.HalfAgreement.Value,
                    ceiling.HalfAgreement.Lower,
                    ceiling.HalfAgreement.Upper,
                ]);
                rows.Add(["noise ceiling, attainable", ceiling.Attainable.Value, ceiling.Attainable.Lower, ceiling.Attainable.Upper]);
            }

            var fixedRows = rows.Count;
            rows.AddRange(
                Queries
                    .Take(Table.MaximumRows)
                    .Select(q => (IReadOnlyList<object>)[$"query {q.QueryId}", q.Estimate.Value, q.Estimate.Lower, q.Estimate.Upper])
            );
            return new Table(
                $"LDS of {_name}: {_runs.Subsets.Count:N0} subsets, {_runs.Count:N0} runs, {Queries.Count:N0} queries, {Dropped.Count:N0} "
                    + "dropped"
                    + (
                        Dropped.Count == 0
                            ? string.Empty
                            : $" (query {Dropped[0].QueryId}: {Dropped[0].Reason}{(Dropped.Count > 1 ? "; ..." : string.Empty)})"
                    )
                    + (TruthNote.Length == 0 ? string.Empty : $"; {TruthNote}"),
                ["", "LDS", "lower", "upper"],
                rows,
                fixedRows + Queries.Count
            );
        }
    }
}
