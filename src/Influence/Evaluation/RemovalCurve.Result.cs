using System.Globalization;
using Influence.Display;

namespace Influence.Evaluation;

public sealed partial record RemovalCurve
{
    /// <summary>The area between two removal curves, over the length of its base: a mean difference of losses.</summary>
    /// <param name="Method">Whose scores.</param>
    /// <param name="Kind">The one curve.</param>
    /// <param name="Against">The other.</param>
    /// <param name="Area">
    /// Positive = the scores do what they should: removed proponents raise the loss above the other curve, removed opponents and
    /// kept proponents lower it.
    /// </param>
    public sealed record Comparison(string Method, Kind Kind, Kind Against, Estimate Area);

    /// <summary>The subsets that a removal curve needs runs of.</summary>
    public sealed class Planned
    {
        internal Planned(Subsets subsets, IReadOnlyList<RemovalStep> steps, IReadOnlyList<string> methods) =>
            (Subsets, Steps, Methods) = (subsets, steps, methods);

        /// <summary>What to retrain on: <see cref="Retraining.Run"/> takes it.</summary>
        public Subsets Subsets { get; }

        /// <summary>What each subset after the first leaves out.</summary>
        internal IReadOnlyList<RemovalStep> Steps { get; }

        internal IReadOnlyList<string> Methods { get; }

        internal IReadOnlyList<double> Shares => [.. Steps.Select(s => s.Share).Distinct()];

        internal int CountOf(double share) => Steps.First(s => s.Share.Equals(share)).Count;
    }

    /// <summary>A point of a removal curve.</summary>
    /// <param name="Method">Whose scores; "random" for the baseline.</param>
    /// <param name="Kind">What was left out, or kept.</param>
    /// <param name="Share">The share of the examples that was left out, or kept.</param>
    /// <param name="Examples">Their number.</param>
    /// <param name="Rise">The loss less that of the run on all examples, mean over queries.</param>
    public sealed record Point(string Method, Kind Kind, double Share, int Examples, Estimate Rise);

    /// <summary>How losses move as examples are left out.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            IReadOnlyList<Point> points,
            IReadOnlyList<Comparison> areas,
            IReadOnlyList<(long QueryId, string Reason)> dropped
        ) => (Points, Areas, Dropped) = (points, areas, dropped);

        /// <summary>The curves.</summary>
        public IReadOnlyList<Point> Points { get; }

        /// <summary>The areas between each curve and the random one, and between proponents and opponents.</summary>
        public IReadOnlyList<Comparison> Areas { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>A table: points, then areas.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Removal curves: rise of the loss, mean over queries, {Dropped.Count:N0} queries dropped",
                ["scores", "curve", "share", "examples", "rise", "lower", "upper"],
                [
                    .. Points.Select(p =>
                        (IReadOnlyList<object>)
                            [
                                p.Method,
                                p.Kind.ToString(),
                                p.Share.ToString("0.####%", CultureInfo.InvariantCulture),
                                p.Examples,
                                p.Rise.Value,
                                p.Rise.Lower,
                                p.Rise.Upper,
                            ]
                    ),
                    .. Areas.Select(a =>
                        (IReadOnlyList<object>)
                            [
                                a.Method,
                                $"area, {a.Kind} against {a.Against}",
                                string.Empty,
                                string.Empty,
                                a.Area.Value,
                                a.Area.Lower,
                                a.Area.Upper,
                            ]
                    ),
                ]
            );
    }
}
