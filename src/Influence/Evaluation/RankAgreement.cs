using Influence.Display;

namespace Influence.Evaluation;

/// <summary>
/// How alike two sets of scores order the training examples: Spearman's correlation for each query, and its mean. One set may
/// be a truth, as the weights of <see cref="Datamodels"/>, or an exact method's scores.
/// </summary>
/// <remarks>Ties share their mean rank. Scores are joined by id.</remarks>
public sealed record RankAgreement
{
    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Compares two sets of scores.</summary>
    /// <param name="first">Scores.</param>
    /// <param name="second">Scores of the same queries and training examples.</param>
    /// <returns>The correlation query by query, and its mean.</returns>
    /// <exception cref="InfluenceException">Ids that differ, or no query that can be compared.</exception>
    public Result Evaluate(InfluenceScores first, InfluenceScores second)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        return Evaluate(first, second, $"{first.Metadata.Estimator} and {second.Metadata.Estimator}");
    }

    /// <summary>
    /// A sanity check: scores of the trained model beside scores of the same model with weights drawn anew. A method that explains
    /// the model gives another order then; one whose order hardly changes reads the data alone.
    /// </summary>
    /// <remarks>Adebayo et al., 2018, for saliency; Hanawa et al., 2021, for training data. Near 0 is expected.</remarks>
    /// <param name="trained">Scores of the trained model.</param>
    /// <param name="randomized">Scores by the same method of the model with random weights; of the same queries and training
    /// examples.</param>
    /// <returns>The correlation query by query, and its mean.</returns>
    /// <exception cref="InfluenceException">Ids that differ, or no query that can be compared.</exception>
    public Result EvaluateRandomized(InfluenceScores trained, InfluenceScores randomized)
    {
        ArgumentNullException.ThrowIfNull(trained);
        return Evaluate(
            trained,
            randomized,
            $"{trained.Metadata.Estimator} before and after the weights were drawn anew (near 0 expected)"
        );
    }

    internal Result Evaluate(InfluenceScores first, InfluenceScores second, string title)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        if (!first.QueryIds.ToHashSet().SetEquals(second.QueryIds) || !first.TrainIds.ToHashSet().SetEquals(second.TrainIds))
        {
            throw new InfluenceException(
                "Both sets of scores need the same queries and the same training examples, by id: score the same examples by both."
            );
        }

        var columnOf = second.TrainIds.Select((id, i) => (id, i)).ToDictionary(p => p.id, p => p.i);
        var (queries, dropped) = (new List<(long Id, double Correlation)>(), new List<(long QueryId, string Reason)>());
        for (var q = 0; q < first.QueryIds.Count; q++)
        {
            var id = first.QueryIds[q];
            var other = second.ForQuery(second.RowOf(id));
            double[] a = [.. first.ForQuery(q).Values],
                b = [.. first.TrainIds.Select(train => other[columnOf[train]])];
            var correlation = a.All(double.IsFinite) && b.All(double.IsFinite) ? new PairedColumn(a, b).Of(Agreement.Spearman) : double.NaN;
            if (double.IsNaN(correlation))
            {
                dropped.Add((id, a.Concat(b).All(double.IsFinite) ? "its scores are all equal" : "a score is not finite"));
            }
            else
            {
                queries.Add((id, correlation));
            }
        }

        return queries.Count == 0
            ? throw new InfluenceException(
                $"No query can be compared: {InfluenceException.List([.. dropped.Select(d => $"query {d.QueryId}, {d.Reason}")])}."
            )
            : new Result(title, Bootstrap.Mean("queries", [.. queries.Select(q => q.Correlation)]), queries, dropped);
    }

    /// <summary>How alike two sets of scores order the training examples.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _title;

        internal Result(
            string title,
            Estimate mean,
            IReadOnlyList<(long Id, double Correlation)> queries,
            IReadOnlyList<(long QueryId, string Reason)> dropped
        ) => (_title, Mean, Queries, Dropped) = (title, mean, queries, dropped);

        /// <summary>The mean rank correlation over queries.</summary>
        public Estimate Mean { get; }

        /// <summary>Query by query.</summary>
        public IReadOnlyList<(long Id, double Correlation)> Queries { get; }

        /// <summary>Queries that could not be compared, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>A table: the mean, then the queries.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"{_title}: rank correlation {Mean} over {Queries.Count:N0} queries, {Dropped.Count:N0} dropped",
                ["query", "rank correlation"],
                [.. Queries.Take(Table.MaximumRows).Select(q => (IReadOnlyList<object>)[q.Id, q.Correlation])],
                Queries.Count
            );
    }
}
