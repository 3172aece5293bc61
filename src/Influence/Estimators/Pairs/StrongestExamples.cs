using Influence.Display;

namespace Influence.Estimators;

/// <summary>
/// The strongest training examples of each query, k proponents and k opponents: what <see cref="InfluenceScores.Proponents"/> and
/// <see cref="InfluenceScores.Opponents"/> say, in memory Q k whatever the number of training examples. Ties go to the example that comes
/// first in the training data. Plain memory; nothing to dispose.
/// </summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class StrongestExamples : IDisplay
{
    private readonly IReadOnlyList<RankedExamples> _proponents;
    private readonly IReadOnlyList<RankedExamples> _opponents;

    internal StrongestExamples(
        IReadOnlyList<long> queryIds,
        int trainCount,
        IReadOnlyList<(long Id, double Score)[]> proponents,
        IReadOnlyList<(long Id, double Score)[]> opponents,
        ScoreMetadata metadata
    )
    {
        (QueryIds, TrainCount, Metadata) = (queryIds, trainCount, metadata);
        _proponents = Ranked("Proponents", proponents);
        _opponents = Ranked("Opponents", opponents);

        IReadOnlyList<RankedExamples> Ranked(string what, IReadOnlyList<(long Id, double Score)[]> all) =>
            [
                .. all.Select(
                    (one, q) =>
                        new RankedExamples(
                            $"{what} of {(queryIds[q] < 0 ? "the queries together" : $"query {queryIds[q]}")}",
                            [.. one.Select((example, rank) => new RankedExamples.Row(rank + 1, example.Id, example.Score))]
                        )
                ),
            ];
    }

    /// <summary>The queries' ids, row by row.</summary>
    public IReadOnlyList<long> QueryIds { get; }

    /// <summary>The number of training examples that were scored, N.</summary>
    public int TrainCount { get; }

    /// <summary>The number of proponents, and of opponents, of each query.</summary>
    public int K => _proponents[0].Count;

    /// <summary>How the scores were made and how to read them.</summary>
    public ScoreMetadata Metadata { get; }

    /// <summary>The k training examples that help the query most (the highest scores; they may be negative when few help).</summary>
    /// <param name="query">The query's row (not id; see <see cref="RowOf"/>).</param>
    /// <returns>The ranking, best first.</returns>
    /// <exception cref="InfluenceException">There is no such row.</exception>
    public RankedExamples Proponents(int query) => _proponents[Row(query)];

    /// <summary>The k training examples that harm the query most (the lowest scores).</summary>
    /// <param name="query">The query's row (not id; see <see cref="RowOf"/>).</param>
    /// <returns>The ranking, worst first.</returns>
    /// <exception cref="InfluenceException">There is no such row.</exception>
    public RankedExamples Opponents(int query) => _opponents[Row(query)];

    /// <summary>The row of the query with that id.</summary>
    /// <param name="queryId">The id.</param>
    /// <returns>The row.</returns>
    /// <exception cref="InfluenceException">There is none of that id.</exception>
    public int RowOf(long queryId)
    {
        for (var row = 0; row < QueryIds.Count; row++)
        {
            if (QueryIds[row] == queryId)
            {
                return row;
            }
        }

        throw new InfluenceException($"No query has the id {queryId}.");
    }

    /// <summary>A table with each query's strongest proponent and opponent.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"{Metadata.Estimator}: the {K:N0} strongest of {TrainCount:N0} training examples for {QueryIds.Count:N0} queries, "
                + $"{Metadata.Sign}",
            ["query", "strongest proponent", "score", "strongest opponent", "its score"],
            [
                .. Enumerable
                    .Range(0, Math.Min(QueryIds.Count, Table.MaximumRows))
                    .Select(query =>
                    {
                        var (best, worst) = (_proponents[query][0], _opponents[query][0]);
                        return (IReadOnlyList<object>)[QueryIds[query], best.Id, best.Score, worst.Id, worst.Score];
                    }),
            ],
            QueryIds.Count
        );

    private int Row(int query) =>
        query >= 0 && query < QueryIds.Count
            ? query
            : throw new InfluenceException($"There are {QueryIds.Count} queries; there is no row {query}. For an id write RowOf(id).");
}
