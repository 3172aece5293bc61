using System.Collections;
using System.Globalization;
using Influence.Display;

namespace Influence.Estimators;

/// <summary>Pairs whose interval excludes zero, the largest means first; prints as a table, in a notebook too.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class StablePairs : IReadOnlyList<StablePairs.Row>, IDisplay
{
    private readonly IReadOnlyList<Row> _pairs;

    internal StablePairs(IReadOnlyList<Row> pairs, double level, int members, long found, long tested) =>
        (_pairs, Level, MemberCount, Found, Tested) = (pairs, level, members, found, tested);

    /// <summary>Of the intervals.</summary>
    public double Level { get; }

    /// <summary>The number of members.</summary>
    public int MemberCount { get; }

    /// <summary>How many pairs are stable, listed or not.</summary>
    public long Found { get; }

    /// <summary>How many pairs there are.</summary>
    public long Tested { get; }

    /// <summary>How many pairs would pass if none had any influence: <c>(1 - level) Q N</c>.</summary>
    public double ExpectedByChance => (1 - Level) * Tested;

    /// <inheritdoc/>
    public int Count => _pairs.Count;

    /// <inheritdoc/>
    public Row this[int index] => _pairs[index];

    /// <inheritdoc/>
    public IEnumerator<Row> GetEnumerator() => _pairs.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table of rank, ids, mean, interval and agreement.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{Found:N0} of {Tested:N0} pairs are stable over {MemberCount} members at {Level:0.##%}; {ExpectedByChance:N0} "
                    + $"would be by chance if none had any influence"
            ),
            ["rank", "query", "train", "mean", "lower", "upper", "same sign"],
            [
                .. _pairs
                    .Take(Table.MaximumRows)
                    .Select(p => (IReadOnlyList<object>)[p.Rank, p.QueryId, p.TrainId, p.Mean, p.Lower, p.Upper, p.SignAgreement]),
            ],
            _pairs.Count
        );

    /// <summary>A query and a training example whose mean score over separate runs is not zero.</summary>
    /// <param name="Rank">From 1, by the size of the mean.</param>
    /// <param name="QueryId">The query's id.</param>
    /// <param name="TrainId">The training example's id.</param>
    /// <param name="Mean">The mean score.</param>
    /// <param name="StandardError">Of the mean.</param>
    /// <param name="Lower">The interval's lower end.</param>
    /// <param name="Upper">The interval's upper end.</param>
    /// <param name="SignAgreement">The share of members with the sign that most have.</param>
    public sealed record Row(
        int Rank,
        long QueryId,
        long TrainId,
        double Mean,
        double StandardError,
        double Lower,
        double Upper,
        double SignAgreement
    );
}
