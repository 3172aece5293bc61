using Influence.Display;

namespace Influence.Evaluation;

public sealed partial record Datamodels
{
    /// <summary>Datamodels: their weights as scores, and how well they predict subsets that they have not seen.</summary>
    /// <remarks>Owns <see cref="Scores"/>: dispose it, or let a <c>using</c> do so.</remarks>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisposable, IDisplay
    {
        internal Result(
            InfluenceScores scores,
            IReadOnlyList<double> intercepts,
            IReadOnlyList<double> penalties,
            Estimate heldBack,
            IReadOnlyList<(long QueryId, string Reason)> dropped
        ) => (Scores, Intercepts, Penalties, HeldBack, Dropped) = (scores, intercepts, penalties, heldBack, dropped);

        /// <summary>The weights, <c>[Q, N]</c>, positive = proponent; they belong to this object.</summary>
        public InfluenceScores Scores { get; }

        /// <summary>Query by query, the reward (minus the loss) that the line gives to no training data.</summary>
        public IReadOnlyList<double> Intercepts { get; }

        /// <summary>The share of the largest penalty that was chosen for each query.</summary>
        public IReadOnlyList<double> Penalties { get; }

        /// <summary>
        /// Spearman's correlation between predicted and measured rewards of the subsets that were held back, mean over queries; NaN
        /// where none were. A little high: the penalty was chosen on them.
        /// </summary>
        public Estimate HeldBack { get; }

        /// <summary>Queries that could not be fitted, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>Frees the scores.</summary>
        public void Dispose() => Scores.Dispose();

        /// <summary>A table of each query's fit.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"{Scores.Metadata.Estimator}: rank correlation {HeldBack} with subsets held back, {Dropped.Count:N0} queries dropped",
                ["query", "penalty", "intercept", "weights not zero"],
                [
                    .. Enumerable
                        .Range(0, Math.Min(Scores.QueryIds.Count, Table.MaximumRows))
                        .Select(q =>
                            (IReadOnlyList<object>)
                                [Scores.QueryIds[q], Penalties[q], Intercepts[q], Scores.ForQuery(q).Values.Count(w => w != 0)]
                        ),
                ],
                Scores.QueryIds.Count
            );
    }
}
