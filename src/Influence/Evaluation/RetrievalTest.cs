using System.Globalization;
using Influence.Display;

namespace Influence.Evaluation;

/// <summary>
/// Whether the strongest proponents are those that are known to matter: of the query's class or source, its duplicate, the
/// document that a fact came from, examples with a planted shortcut.
/// </summary>
/// <remarks>
/// Akyurek et al., 2022 (fact tracing); Hanawa et al., 2021 (identical class). Equal scores have no order: every figure is the
/// mean over all orders, so a constant score does as chance does. Similarity of words or representations often does well on
/// such tests: judge it beside influence before believing the latter.
/// </remarks>
public sealed record RetrievalTest
{
    /// <summary>How many of the first are looked at.</summary>
    /// <value>1, 5, 10 and 50; those beyond the number of training examples are left out.</value>
    public IReadOnlyList<int> Ks
    {
        get;
        init =>
            field =
                value is not null && value.All(k => k > 0) ? [.. value] : throw new InfluenceException("Ks are at least 1: Ks = [1, 10].");
    } = [1, 5, 10, 50];

    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Judges scores.</summary>
    /// <param name="scores">Any scores; they stay the caller's.</param>
    /// <param name="isRelevant">
    /// From a query's id and a training example's id: whether the latter should be found. For classes
    /// <c>(q, z) => queryLabels[q] == trainLabels[z]</c>, for duplicates <c>(q, z) => z == origin[q]</c>.
    /// </param>
    /// <returns>The figures, beside those of chance.</returns>
    /// <exception cref="InfluenceException">No query has anything relevant.</exception>
    public Result Evaluate(InfluenceScores scores, Func<long, long, bool> isRelevant)
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(isRelevant);
        int[] ks = [.. Ks.Where(k => k <= scores.TrainIds.Count)];
        string[] names =
        [
            "MRR",
            "average precision",
            .. ks.Select(k => string.Create(CultureInfo.InvariantCulture, $"precision@{k}")),
            .. ks.Select(k => string.Create(CultureInfo.InvariantCulture, $"recall@{k}")),
        ];
        var (found, chance, dropped) = (
            names.Select(_ => new List<double>()).ToArray(),
            names.Select(_ => new List<double>()).ToArray(),
            new List<(long QueryId, string Reason)>()
        );
        for (var q = 0; q < scores.QueryIds.Count; q++)
        {
            var id = scores.QueryIds[q];
            bool[] relevant = [.. scores.TrainIds.Select(train => isRelevant(id, train))];
            double[] row = [.. scores.ForQuery(q).Values];
            if (!relevant.Contains(true) || row.Any(double.IsNaN))
            {
                dropped.Add((id, relevant.Contains(true) ? "a score is not a number" : "nothing is relevant to it"));
                continue;
            }

            Add(found, new RankedLabels(row, relevant));
            Add(chance, new RankedLabels(new double[row.Length], relevant));

            void Add(List<double>[] values, RankedLabels ranked)
            {
                var total = relevant.Count(r => r);
                double[] figures =
                [
                    ranked.ReciprocalRank(),
                    ranked.AveragePrecision(),
                    .. ks.Select(k => ranked.Found(k) / k),
                    .. ks.Select(k => ranked.Found(k) / total),
                ];
                for (var f = 0; f < figures.Length; f++)
                {
                    values[f].Add(figures[f]);
                }
            }
        }

        return found[0].Count == 0
            ? throw DroppedQueries.NoneLeft(dropped)
            : new Result(
                scores.Metadata.Estimator,
                found[0].Count,
                dropped,
                [.. names.Select((name, f) => new Row(name, Bootstrap.Mean("queries", found[f]), chance[f].Average()))]
            );
    }

    /// <summary>A figure of a retrieval test.</summary>
    /// <param name="Name">MRR, average precision, precision@k or recall@k.</param>
    /// <param name="Estimate">Its mean over queries.</param>
    /// <param name="Chance">What random scores reach on average.</param>
    public sealed record Row(string Name, Estimate Estimate, double Chance);

    /// <summary>Whether the strongest proponents are those that are known to matter.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _name;

        internal Result(string name, int queries, IReadOnlyList<(long QueryId, string Reason)> dropped, IReadOnlyList<Row> figures) =>
            (_name, QueryCount, Dropped, Figures) = (name, queries, dropped, figures);

        /// <summary>The figures: MRR, average precision, precision and recall at each k.</summary>
        public IReadOnlyList<Row> Figures { get; }

        /// <summary>The queries that were judged.</summary>
        public int QueryCount { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>A figure by name.</summary>
        /// <param name="name"><c>MRR</c>, <c>average precision</c>, <c>precision@10</c>, <c>recall@10</c>.</param>
        /// <exception cref="InfluenceException">There is none of that name.</exception>
        public Row this[string name] =>
            Figures.FirstOrDefault(f => f.Name == name)
            ?? throw new InfluenceException(
                $"There is no figure \"{name}\"; there are {InfluenceException.List([.. Figures.Select(f => f.Name)])}."
            );

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
                $"Retrieval by {_name}: {QueryCount:N0} queries, {Dropped.Count:N0} dropped",
                ["", "mean over queries", "lower", "upper", "chance"],
                [.. Figures.Select(f => (IReadOnlyList<object>)[f.Name, f.Estimate.Value, f.Estimate.Lower, f.Estimate.Upper, f.Chance])]
            );
    }
}
