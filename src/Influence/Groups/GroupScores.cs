using Influence.Display;
using Influence.Numerics;

namespace Influence.Groups;

/// <summary>
/// The influence of groups of training examples on groups of queries, <c>[n query groups, m training groups]</c>. Positive:
/// training more on the group lowers the measurement. Plain memory; nothing to dispose.
/// </summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed partial class GroupScores : IDisplay
{
    private readonly double[,] _sums;
    private readonly double[,]? _standardErrors;

    /// <summary>Takes scores from anywhere, another tool's included.</summary>
    /// <param name="sums"><c>[n, m]</c>: summed over each group's examples; copied.</param>
    /// <param name="queryGroups">n names.</param>
    /// <param name="trainGroups">m groups with their sizes.</param>
    /// <param name="metadata">How they were made and how to read them.</param>
    /// <param name="standardErrors"><c>[n, m]</c>: of the sums, as drawn from a larger population; null where unknown; copied.</param>
    /// <exception cref="InfluenceException">Shapes that do not fit, names that repeat, empty groups, or numbers that are not
    /// finite.</exception>
    public GroupScores(
        double[,] sums,
        IReadOnlyList<string> queryGroups,
        IReadOnlyList<Row> trainGroups,
        ScoreMetadata metadata,
        double[,]? standardErrors = null
    )
    {
        ArgumentNullException.ThrowIfNull(sums);
        ArgumentNullException.ThrowIfNull(queryGroups);
        ArgumentNullException.ThrowIfNull(trainGroups);
        ArgumentNullException.ThrowIfNull(metadata);
        (_sums, _standardErrors) = ((double[,])sums.Clone(), (double[,]?)standardErrors?.Clone());
        (QueryGroups, TrainGroups, Metadata) = ([.. queryGroups], [.. trainGroups], metadata);
        InfluenceException.ThrowIfAny([.. Problems()]);
    }

    /// <summary>The query groups' names, row by row.</summary>
    public IReadOnlyList<string> QueryGroups { get; }

    /// <summary>The training groups, column by column.</summary>
    public IReadOnlyList<Row> TrainGroups { get; }

    /// <summary>How they were made and how to read them.</summary>
    public ScoreMetadata Metadata { get; }

    /// <summary>The number of queries that each row is the mean over; null where unknown.</summary>
    /// <exception cref="InfluenceException">Not one number for each query group.</exception>
    public IReadOnlyList<int>? QueryCounts
    {
        get;
        init =>
            field =
                value is null || value.Count == QueryGroups.Count
                    ? value is null
                        ? null
                        : [.. value]
                    : throw new InfluenceException(
                        $"QueryCounts has one number for each of the {QueryGroups.Count} query groups; found {value.Count}."
                    );
    }

    /// <summary>The influence of the whole group: the sum over its examples.</summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    public double Sum(int query, int train) => _sums[RowOf(query), Column(train)];

    /// <summary>The mean influence of one of the group's examples.</summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    public double PerExample(int query, int train) => Sum(query, train) / TrainGroups[train].Examples;

    /// <summary>The mean influence of one of the group's tokens: what mixtures are made from, since sums grow with the group.</summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    public double PerToken(int query, int train) => Sum(query, train) / TrainGroups[train].Tokens;

    /// <summary>
    /// The standard error of the sum; NaN where unknown, as for a group of one. It takes the group's examples for a draw from a
    /// larger population: how far the sum over as many other examples of that kind would be off. Sampling is in it: with m of M
    /// examples looked at it is M / m times that of their sum.
    /// </summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    public double StandardError(int query, int train) => _standardErrors?[RowOf(query), Column(train)] ?? double.NaN;

    /// <summary>
    /// The standard error of the sum from sampling alone: how far it is from that of this very group, looked at whole. The
    /// standard error times sqrt(1 - m / M), the finite-population correction; 0 for a group that was looked at whole.
    /// </summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    public double SamplingError(int query, int train) =>
        TrainGroups[Column(train)] is { Sampled: true } group
            ? StandardError(query, train) * Math.Sqrt(1 - (group.ScoredExamples / (double)group.Examples))
            : 0;

    /// <summary>
    /// A confidence interval for the influence of a group of this size from the same population, by Student's t with one less
    /// than <see cref="GroupScores.Row.Blocks"/> degrees of freedom. NaN where there is no standard error. It is about training examples
    /// only: the queries are taken as given, and how far other queries of their kind would differ is in none of the intervals.
    /// </summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    /// <returns>The interval for the sum.</returns>
    /// <exception cref="InfluenceException">The confidence is not between 0 and 1.</exception>
    public (double Lower, double Upper) Interval(int query, int train, double confidence = 0.95)
    {
        if (confidence is not (> 0 and < 1))
        {
            throw new InfluenceException($"A confidence is between 0 and 1, 0.95 for instance; found {confidence}.");
        }

        var sum = Sum(query, train);
        var freedom = TrainGroups[train].Blocks is > 0 and var blocks ? blocks - 1 : double.PositiveInfinity;
        var error = StandardError(query, train);
        var half = double.IsNaN(error) || freedom == 0 ? double.NaN : error * StudentT.Quantile(0.5 + (confidence / 2), freedom);
        return (sum - half, sum + half);
    }

    /// <summary>The same for the mean influence of one example.</summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    /// <returns>The interval for <see cref="PerExample"/>.</returns>
    /// <exception cref="InfluenceException">The confidence is not between 0 and 1.</exception>
    public (double Lower, double Upper) PerExampleInterval(int query, int train, double confidence = 0.95)
    {
        var (lower, upper) = Interval(query, train, confidence);
        var examples = TrainGroups[train].Examples;
        return (lower / examples, upper / examples);
    }

    /// <summary>The same for the mean influence of one token. The group's number of tokens is taken as given.</summary>
    /// <param name="query">Row.</param>
    /// <param name="train">Column.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    /// <returns>The interval for <see cref="PerToken(int, int)"/>.</returns>
    /// <exception cref="InfluenceException">The confidence is not between 0 and 1.</exception>
    public (double Lower, double Upper) PerTokenInterval(int query, int train, double confidence = 0.95)
    {
        var (lower, upper) = Interval(query, train, confidence);
        var tokens = TrainGroups[train].Tokens;
        return (lower / tokens, upper / tokens);
    }

    /// <summary>The per-token means as a matrix.</summary>
    /// <returns><c>[n, m]</c>, a copy.</returns>
    public double[,] PerToken()
    {
        var means = new double[QueryGroups.Count, TrainGroups.Count];
        for (var q = 0; q < QueryGroups.Count; q++)
        {
            for (var g = 0; g < TrainGroups.Count; g++)
            {
                means[q, g] = PerToken(q, g);
            }
        }

        return means;
    }

    /// <summary>One row a training group, one column a query group, per-token means.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"{Metadata.Estimator}: mean influence of a token, {Metadata.Sign}",
            ["training group", "examples", "tokens", .. QueryGroups],
            [
                .. TrainGroups.Select(
                    (g, j) => (IReadOnlyList<object>)[g.Name, g.Examples, g.Tokens, .. QueryGroups.Select((_, q) => (object)PerToken(q, j))]
                ),
            ]
        );

    private int RowOf(int query) =>
        query >= 0 && query < QueryGroups.Count
            ? query
            : throw new InfluenceException($"There are {QueryGroups.Count} query groups; there is no row {query}.");

    private int Column(int train) =>
        train >= 0 && train < TrainGroups.Count
            ? train
            : throw new InfluenceException($"There are {TrainGroups.Count} training groups; there is no column {train}.");

    private IEnumerable<string> Problems()
    {
        var (n, m) = (QueryGroups.Count, TrainGroups.Count);
        if (n == 0 || m == 0)
        {
            yield return $"At least one query group and one training group are needed; found {n} and {m}.";
        }

        if (_sums.GetLength(0) != n || _sums.GetLength(1) != m)
        {
            yield return $"Group scores are [query groups, training groups] = [{n}, {m}]; found [{_sums.GetLength(0)}, "
                + $"{_sums.GetLength(1)}].";
            yield break;
        }

        if (_standardErrors is { } errors && (errors.GetLength(0) != n || errors.GetLength(1) != m))
        {
            yield return $"Standard errors have the shape of the scores, [{n}, {m}]; found [{errors.GetLength(0)}, {errors.GetLength(1)}].";
        }

        if (QueryGroups.Distinct().Count() != n || TrainGroups.Select(g => g.Name).Distinct().Count() != m)
        {
            yield return "The names of query groups, and those of training groups, may not repeat.";
        }

        foreach (var group in TrainGroups.Where(g => g.Examples <= 0 || !(g.Tokens > 0)))
        {
            yield return $"The group \"{group.Name}\" has {group.Examples} examples and {group.Tokens} tokens; both are more than 0.";
        }

        for (var q = 0; q < n; q++)
        {
            for (var g = 0; g < m; g++)
            {
                if (!double.IsFinite(_sums[q, g]))
                {
                    yield return $"The influence of \"{TrainGroups[g].Name}\" on \"{QueryGroups[q]}\" is {_sums[q, g]}; a finite number "
                        + "is expected.";
                }
            }
        }
    }
}
