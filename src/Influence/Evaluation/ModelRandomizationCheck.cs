using Influence.Display;

namespace Influence.Evaluation;

/// <summary>
/// A sanity check: scores of the trained model beside scores of the same model with weights drawn anew. A method that explains
/// the model gives another order then; one whose order hardly changes reads the data alone.
/// </summary>
/// <remarks>
/// Adebayo et al., 2018, for saliency; Hanawa et al., 2021, for training data. The figure is, per query, Spearman's correlation
/// over training examples, mean over queries: near 0 is expected.
/// </remarks>
public sealed record ModelRandomizationCheck
{
    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Compares two sets of scores, joined by id.</summary>
    /// <param name="trained">Scores of the trained model.</param>
    /// <param name="randomized">Scores by the same method of the model with random weights; of the same queries and training examples.</param>
    /// <returns>The correlation query by query, and its mean.</returns>
    /// <exception cref="InfluenceException">Ids that differ, or no query that can be compared.</exception>
    public ModelRandomizationResult Evaluate(InfluenceScores trained, InfluenceScores randomized)
    {
        ArgumentNullException.ThrowIfNull(trained);
        ArgumentNullException.ThrowIfNull(randomized);
        if (!trained.QueryIds.ToHashSet().SetEquals(randomized.QueryIds) || !trained.TrainIds.ToHashSet().SetEquals(randomized.TrainIds))
        {
            throw new InfluenceException("Both sets of scores need the same queries and the same training examples, by id: score both models with the same examples.");
        }

        var columnOf = randomized.TrainIds.Select((id, i) => (id, i)).ToDictionary(p => p.id, p => p.i);
        var (queries, dropped) = (new List<(long Id, double Correlation)>(), new List<DroppedQuery>());
        for (var q = 0; q < trained.QueryIds.Count; q++)
        {
            var id = trained.QueryIds[q];
            var other = randomized.ForQuery(randomized.RowOf(id));
            double[] a = [.. trained.ForQuery(q).Values], b = [.. trained.TrainIds.Select(train => other[columnOf[train]])];
            var correlation = a.All(double.IsFinite) && b.All(double.IsFinite) ? new PairedColumn(a, b).Of(Agreement.Spearman) : double.NaN;
            if (double.IsNaN(correlation))
            {
                dropped.Add(new DroppedQuery(id, a.Concat(b).All(double.IsFinite) ? "its scores are all equal" : "a score is not finite"));
            }
            else
            {
                queries.Add((id, correlation));
            }
        }

        return queries.Count == 0
            ? throw new InfluenceException($"No query can be compared: {InfluenceException.List([.. dropped.Select(d => $"query {d.QueryId}, {d.Reason}")])}.")
            : new ModelRandomizationResult(trained.Metadata.Estimator, Bootstrap.Mean("queries", [.. queries.Select(q => q.Correlation)]), queries, dropped);
    }
}

/// <summary>How much of the order of the scores is left when the weights are drawn anew.</summary>
[TypeFormatterSource(typeof(HtmlTables))]
public sealed class ModelRandomizationResult : IDisplay
{
    private readonly string _name;

    internal ModelRandomizationResult(string name, Estimate mean, IReadOnlyList<(long Id, double Correlation)> queries, IReadOnlyList<DroppedQuery> dropped) =>
        (_name, Mean, Queries, Dropped) = (name, mean, queries, dropped);

    /// <summary>The mean rank correlation over queries; near 0 is expected.</summary>
    public Estimate Mean { get; }

    /// <summary>Query by query.</summary>
    public IReadOnlyList<(long Id, double Correlation)> Queries { get; }

    /// <summary>Queries that could not be compared, and why.</summary>
    public IReadOnlyList<DroppedQuery> Dropped { get; }

    /// <summary>A table: the mean, then the queries.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() => new(
        $"{_name} before and after the weights were drawn anew: rank correlation {Mean} over {Queries.Count:N0} queries (near 0 expected), {Dropped.Count:N0} dropped",
        ["query", "rank correlation"],
        [.. Queries.Take(Table.MaximumRows).Select(q => (IReadOnlyList<object>)[q.Id, q.Correlation])],
        Queries.Count);
}
