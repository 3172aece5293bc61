using System.Collections;
using System.Globalization;
using Influence.Display;

namespace Influence.Training;

public sealed partial class Cartography
{
    /// <summary>Examples of one region of a data map, the most typical first; prints as a table, in a notebook too.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IReadOnlyList<Point>, IDisplay
    {
        private readonly Kind _region;
        private readonly IReadOnlyList<Point> _points;
        private readonly Func<long, string>? _describe;

        internal Result(Kind region, IReadOnlyList<Point> points, Func<long, string>? describe = null) =>
            (_region, _points, _describe) = (region, points, describe);

        /// <summary>The ids in order.</summary>
        public IEnumerable<long> Ids => _points.Select(p => p.Id);

        /// <inheritdoc/>
        public int Count => _points.Count;

        /// <inheritdoc/>
        public Point this[int index] => _points[index];

        /// <summary>The same ranking with a text for each example in its table.</summary>
        /// <param name="describe">From an example's id to its text.</param>
        /// <returns>The described ranking.</returns>
        public Result Describe(Func<long, string> describe)
        {
            ArgumentNullException.ThrowIfNull(describe);
            return new Result(_region, _points, describe);
        }

        /// <inheritdoc/>
        public IEnumerator<Point> GetEnumerator() => _points.GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        /// <summary>A table of the examples.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            var title = _region switch
            {
                Kind.EasyToLearn => "Easy to learn, highest confidence first",
                Kind.HardToLearn => "Hard to learn, lowest confidence first",
                _ => "Ambiguous, highest variability first",
            };
            string[] headers = ["rank", "id", "confidence", "variability", "correct"];
            return new Table(
                string.Create(CultureInfo.InvariantCulture, $"{title}: {Count:N0} examples"),
                _describe is null ? headers : [.. headers, "example"],
                [.. _points.Take(Table.MaximumRows).Select((p, i) => (IReadOnlyList<object>)Row(p, i + 1))],
                Count
            );
        }

        private object[] Row(Point point, int rank)
        {
            object[] row = [rank, point.Id, point.Confidence, point.Variability, $"{point.Correct}/{point.Presentations}"];
            return _describe is null ? row : [.. row, _describe(point.Id)];
        }
    }
}
