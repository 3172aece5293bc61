using System.Globalization;
using Influence.Display;

namespace Influence.Training;

public sealed partial record AumThreshold
{
    /// <summary>Labels that <see cref="AumThreshold.Planned.Judge"/> distrusts.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(ExampleScores aboveThreshold, IReadOnlyList<double> thresholds, IReadOnlyList<long> notJudged)
        {
            (AboveThreshold, Thresholds, NotJudged) = (aboveThreshold, thresholds, notJudged);
            Flagged =
            [
                .. aboveThreshold.Ids.Zip(aboveThreshold.Values).Where(s => s.Second < 0).OrderBy(s => s.Second).Select(s => s.First),
            ];
        }

        /// <summary>Each example's area under the margin less the threshold of the run that judged it: below zero = flagged.</summary>
        public ExampleScores AboveThreshold { get; }

        /// <summary>The threshold of each run: a percentile of its samples' areas, linear between neighbours.</summary>
        public IReadOnlyList<double> Thresholds { get; }

        /// <summary>The ids of the examples below the threshold, the lowest first.</summary>
        public IReadOnlyList<long> Flagged { get; }

        /// <summary>Examples that no run judged: threshold samples of a single run, and examples that a run did not see.</summary>
        public IReadOnlyList<long> NotJudged { get; }

        /// <summary>A table of the flagged examples.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            var thresholds = string.Join(" and ", Thresholds.Select(t => t.ToString("G4", CultureInfo.InvariantCulture)));
            return new Table(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{Flagged.Count:N0} of {AboveThreshold.Count:N0} labels flagged, threshold "
                        + $"{thresholds}, {NotJudged.Count:N0} not judged"
                ),
                ["rank", "id", "below the threshold by"],
                [
                    .. AboveThreshold
                        .Lowest(Math.Min(Flagged.Count, Table.MaximumRows))
                        .Select(e => (IReadOnlyList<object>)[e.Rank, e.Id, -e.Score]),
                ],
                Flagged.Count
            );
        }
    }
}
