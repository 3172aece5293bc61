using System.Globalization;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Groups;
using Influence.Mixtures;
using Influence.Training;

namespace Influence.Reports;

public sealed partial class InfluenceReport
{
    private const int MostRows = 60;

    /// <summary>Adds the influence of groups on groups of queries, for one example of each group, with intervals.</summary>
    /// <param name="scores">The scores.</param>
    /// <param name="confidence">Of the intervals, between 0 and 1.</param>
    /// <param name="heading">The heading.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    /// <exception cref="InfluenceException">The confidence is not between 0 and 1.</exception>
    public InfluenceReport Groups(GroupScores scores, double confidence = 0.95, string heading = "Groups", string note = "")
    {
        ArgumentNullException.ThrowIfNull(scores);
        var pairs = (
            from q in Enumerable.Range(0, scores.QueryGroups.Count)
            from t in Enumerable.Range(0, scores.TrainGroups.Count)
            select (Query: q, Train: t)
        ).ToList();
        Plot.Row[] rows =
        [
            .. Enumerable
                .Range(0, scores.TrainGroups.Count)
                .Select(t => new Plot.Row(
                    scores.TrainGroups[t].Name,
                    [.. Enumerable.Range(0, scores.QueryGroups.Count).Select(q => Point(q, t))]
                )),
        ];
        var table = Sortable(
            ["target", "group", "examples", "influence of one example", "lower", "upper", "of the whole group", "lower ", "upper "],
            [.. pairs.Select(p => Cells(p.Query, p.Train))]
        );
        Made(heading, scores.Metadata);
        var interval = string.Create(
            CultureInfo.InvariantCulture,
            $"Influence of one example of each group on each target, with "
                + $"{confidence:0.#%} intervals where there are any. Positive: training more on the group lowers the target's measurement."
        );
        return Add(
            heading,
            Paragraph(note)
                + $"<p class=\"note\">{Cell.Html(interval)}</p>"
                + (
                    pairs.Count > MostRows || scores.QueryGroups.Count > 8
                        ? table
                        : Figures(Plot.Intervals(heading, "influence of one example", [.. scores.QueryGroups], rows), table)
                )
        );

        Plot.Point Point(int q, int t)
        {
            var (lower, upper) = scores.PerExampleInterval(q, t, confidence);
            return new Plot.Point(0, scores.PerExample(q, t), lower, upper);
        }

        IReadOnlyList<object?> Cells(int q, int t)
        {
            var (one, whole) = (Point(q, t), scores.Interval(q, t, confidence));
            return
            [
                scores.QueryGroups[q],
                scores.TrainGroups[t].Name,
                scores.TrainGroups[t].Examples,
                one.Value,
                one.Lower,
                one.Upper,
                scores.Sum(q, t),
                whole.Lower,
                whole.Upper,
            ];
        }
    }

    /// <summary>Adds a mixture, beside the one that it replaces.</summary>
    /// <param name="mixture">The mixture.</param>
    /// <param name="prior">The mixture that it replaces; null for none.</param>
    /// <param name="heading">The heading.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Mixture(Mixture mixture, Mixture? prior = null, string heading = "Mixture", string note = "")
    {
        ArgumentNullException.ThrowIfNull(mixture);
        return Add(heading, Paragraph(note) + MixtureHtml(mixture, prior, heading));
    }

    /// <summary>Adds what <see cref="TikmixD"/> found: the mixture, and what it means for each target.</summary>
    /// <param name="result">The result.</param>
    /// <param name="heading">The heading.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Mixture(TikmixD.Result result, string heading = "Mixture", string note = "")
    {
        ArgumentNullException.ThrowIfNull(result);
        return Add(
            heading,
            Paragraph(note)
                + MixtureHtml(result.Mixture, result.Prior, heading)
                + Sortable(
                    ["target", "influence", "under the prior", "shadow price", "cost of its constraint", "note"],
                    [
                        .. result.Targets.Select(t =>
                            (IReadOnlyList<object?>)
                                [t.Target, t.Influence, t.PriorInfluence, t.ShadowPrice, t.Cost, t.NothingHelps ? "no group helps it" : ""]
                        ),
                    ]
                )
        );
    }

    /// <summary>Adds the curve by which a damping was chosen.</summary>
    /// <param name="curve">What <see cref="DampingSearch"/> found.</param>
    /// <param name="quality">What the quality is.</param>
    /// <param name="heading">The heading.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Damping(DampingSearch.Result curve, string quality = "quality", string heading = "Damping", string note = "")
    {
        ArgumentNullException.ThrowIfNull(curve);
        var edge = curve.AtTheEdge ? " It lies at the edge of what was tried: a better one may lie beyond." : string.Empty;
        var chosen = string.Create(
            CultureInfo.InvariantCulture,
            $"Chosen on {curve.HeldOutIds.Count:N0} held-out queries: {curve.Best}.{edge}"
        );
        Plot.Point[] points =
        [
            .. curve.Points.Where(p => p.Damping.Value > 0).Select(p => new Plot.Point(p.Damping.Value, p.Quality, double.NaN, double.NaN)),
        ];
        var table = Sortable(
            ["damping", quality, "chosen"],
            [.. curve.Points.Select(p => (IReadOnlyList<object?>)[p.Damping.ToString(), p.Quality, p.Damping == curve.Best ? "yes" : ""])]
        );
        var unit = curve.Points.All(p => p.Damping.IsRelative) ? "damping, times the mean eigenvalue" : "damping";
        return Add(
            heading,
            Paragraph(note)
                + Paragraph(chosen)
                + (
                    points.Length < 2 || curve.Points.Select(p => p.Damping.IsRelative).Distinct().Count() > 1
                        ? table
                        : Figures(Plot.Curves(heading, unit, quality, [(quality, points)], logarithmic: true), table)
                )
        );
    }

    /// <summary>Adds linear datamodeling scores with intervals, beside what the noise between seeds leaves to reach.</summary>
    /// <param name="methods">Each method with its result.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Lds(params IReadOnlyList<(string Method, Lds.Result Result)> methods)
    {
        ArgumentNullException.ThrowIfNull(methods);
        var estimates = methods
            .Select(m => (m.Method, m.Result.Mean))
            .Concat(
                methods
                    .Where(m => m.Result.Ceiling is not null)
                    .Take(1)
                    .Select(m => (Method: "attainable (noise ceiling)", Mean: m.Result.Ceiling!.Attainable))
            )
            .ToList();
        var table = Sortable(
            ["method", "LDS", "lower", "upper", "queries", "dropped"],
            [
                .. methods.Select(m =>
                    (IReadOnlyList<object?>)
                        [
                            m.Method,
                            m.Result.Mean.Value,
                            m.Result.Mean.Lower,
                            m.Result.Mean.Upper,
                            m.Result.Queries.Count,
                            m.Result.Dropped.Count,
                        ]
                ),
            ]
        );
        return Add(
            "Agreement with retraining (LDS)",
            "<p class=\"note\">Spearman's correlation between what scores predict for random subsets and what models retrained on them "
                + "do; the mean over queries, with intervals over queries and subsets.</p>"
                + Figures(
                    Plot.Intervals("LDS", "mean over queries", ["LDS"], [.. estimates.Select(e => new Plot.Row(e.Method, [Of(e.Mean)]))]),
                    table
                )
        );
    }

    /// <summary>Adds removal curves with intervals, and the areas between them.</summary>
    /// <param name="result">The curves.</param>
    /// <param name="heading">The heading.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Removal(RemovalCurve.Result result, string heading = "Removal curves", string note = "")
    {
        ArgumentNullException.ThrowIfNull(result);
        var curves = result
            .Points.GroupBy(p => (p.Method, p.Kind))
            .Select(g =>
                (
                    $"{g.Key.Method}, {Words(g.Key.Kind.ToString())}",
                    (IReadOnlyList<Plot.Point>)[.. g.OrderBy(p => p.Share).Select(p => Of(p.Rise) with { X = 100 * p.Share })]
                )
            )
            .ToList();
        var table = Sortable(
            ["scores", "curve", "share", "examples", "rise of the loss", "lower", "upper"],
            [
                .. result.Points.Select(p =>
                    (IReadOnlyList<object?>)
                        [p.Method, Words(p.Kind.ToString()), p.Share, p.Examples, p.Rise.Value, p.Rise.Lower, p.Rise.Upper]
                ),
            ]
        );
        var areas = Sortable(
            ["scores", "curve", "against", "area", "lower", "upper"],
            [
                .. result.Areas.Select(a =>
                    (IReadOnlyList<object?>)
                        [a.Method, Words(a.Kind.ToString()), Words(a.Against.ToString()), a.Area.Value, a.Area.Lower, a.Area.Upper]
                ),
            ]
        );
        return Add(
            heading,
            Paragraph(note)
                + Figures(Plot.Curves(heading, "percent of the examples left out, or kept", "rise of the loss", curves), table + areas)
        );
    }

    /// <summary>Adds how well rankings find labels that are known to be wrong.</summary>
    /// <param name="rankings">Each ranking with its result.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Detection(params IReadOnlyList<(string Ranking, MislabelDetection.Result Result)> rankings)
    {
        ArgumentNullException.ThrowIfNull(rankings);
        var curves = rankings
            .Select(r =>
                (
                    r.Ranking,
                    (IReadOnlyList<Plot.Point>)
                        [.. r.Result.Curve.Select(p => new Plot.Point(100 * p.Share, 100 * p.Recall, double.NaN, double.NaN))]
                )
            )
            .ToList();
        var table = Sortable(
            [
                "ranking",
                "AUC",
                "lower",
                "upper",
                "average precision",
                "lower ",
                "upper ",
                .. rankings.Count == 0
                    ? []
                    : rankings[0]
                        .Result.Recalls.Select(r => $"found after checking {r.Share.ToString("0.##%", CultureInfo.InvariantCulture)}"),
            ],
            [
                .. rankings.Select(r =>
                    (IReadOnlyList<object?>)
                        [
                            r.Ranking,
                            r.Result.Auc.Value,
                            r.Result.Auc.Lower,
                            r.Result.Auc.Upper,
                            r.Result.AveragePrecision.Value,
                            r.Result.AveragePrecision.Lower,
                            r.Result.AveragePrecision.Upper,
                            .. r.Result.Recalls.Select(recall => (object?)Plot.Interval(Of(recall.Recall))),
                        ]
                ),
            ]
        );
        var count =
            rankings.Count == 0
                ? string.Empty
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"{rankings[0].Result.MislabelledCount:N0} wrong labels among {rankings[0].Result.Count:N0}. AUC: the "
                        + $"probability that a wrong label ranks before a right one."
                );
        return Add(
            "How well wrong labels are found",
            Paragraph(count)
                + table
                + Plot.Curves("Wrong labels found", "percent of the examples checked", "percent of the wrong labels found", curves)
        );
    }

    /// <summary>Adds a data map: each example by the model's confidence of its label over training, and how much that changed.</summary>
    /// <param name="cartography">The map.</param>
    /// <param name="show">How an example is shown, at a closer look; null for none.</param>
    /// <param name="maximumPoints">The most examples that are drawn; of more, every so manieth in the order of ids.</param>
    /// <param name="heading">The heading.</param>
    /// <returns>The report.</returns>
    /// <exception cref="InfluenceException">Fewer than one point.</exception>
    public InfluenceReport DataMap(
        Cartography cartography,
        Func<long, ExampleView>? show = null,
        int maximumPoints = 3000,
        string heading = "Data map"
    )
    {
        ArgumentNullException.ThrowIfNull(cartography);
        if (maximumPoints < 1)
        {
            throw new InfluenceException($"A data map has at least 1 point, not {maximumPoints}.");
        }

        var every = (cartography.Points.Count + maximumPoints - 1) / maximumPoints;
        var points = cartography.Points.Where((_, i) => i % Math.Max(1, every) == 0).ToList();
        int Class(Cartography.Point p) =>
            p.Correct == 0 ? 0
            : p.Correct == p.Presentations ? 5
            : 1 + (int)Math.Min(p.CorrectFraction * 4, 3);
        var svg = Plot.Map(
            heading,
            [
                .. points.Select(p =>
                    (p.Variability, p.Confidence, Class(p), show is null ? (int?)null : _views.Add(p.Id, show, query: false, OtherPriority))
                ),
            ],
            ["none", "up to 25%", "25% to 50%", "50% to 75%", "75% and more", "all"]
        );
        var shown =
            points.Count == cartography.Points.Count
                ? string.Create(CultureInfo.InvariantCulture, $"{points.Count:N0} examples.")
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"{points.Count:N0} of {cartography.Points.Count:N0} examples, every {every}th."
                );
        var hardest = Sortable(
            ["id", "confidence", "variability", "correct", "presentations"],
            [
                .. cartography
                    .Points.OrderBy(p => p.Confidence)
                    .Take(20)
                    .Select(p =>
                        (IReadOnlyList<object?>)
                            [p.Id.ToString(CultureInfo.InvariantCulture), p.Confidence, p.Variability, p.Correct, p.Presentations]
                    ),
            ]
        );
        return Add(
            heading,
            $"<p class=\"note\">{shown} Top left: easy to learn; bottom left: hard, or mislabelled; right: "
                + $"ambiguous.</p>{svg}<details><summary>The 20 hardest</summary>{hardest}</details>"
        );
    }

    /// <summary>Adds bars with intervals.</summary>
    /// <param name="heading">The heading.</param>
    /// <param name="unit">What the bars' length is.</param>
    /// <param name="names">What each row has a bar of: methods, for instance.</param>
    /// <param name="rows">Each row's label, and a value for each name; an interval of NaN is none.</param>
    /// <param name="note">What one must know to read it; empty for nothing.</param>
    /// <returns>The report.</returns>
    /// <exception cref="InfluenceException">A row has another number of values than there are names.</exception>
    public InfluenceReport Bars(
        string heading,
        string unit,
        IReadOnlyList<string> names,
        IReadOnlyList<(string Label, IReadOnlyList<Estimate> Values)> rows,
        string note = ""
    )
    {
        ArgumentNullException.ThrowIfNull(names);
        ArgumentNullException.ThrowIfNull(rows);
        var table = Sortable(["", .. names], [.. rows.Select(row => (IReadOnlyList<object?>)[row.Label, .. row.Values.Select(Shown)])]);
        return Add(
            heading,
            Paragraph(note)
                + Figures(
                    Plot.Intervals(
                        heading,
                        unit,
                        names,
                        [.. rows.Select(row => new Plot.Row(row.Label, [.. row.Values.Select(Of)]))],
                        bars: true
                    ),
                    table
                )
        );

        static object Shown(Estimate value) => double.IsNaN(value.Lower) ? value.Value : Plot.Interval(Of(value));
    }

    /// <summary>Adds curves, with bands where every point has an interval.</summary>
    /// <param name="heading">The heading.</param>
    /// <param name="xName">What x is.</param>
    /// <param name="yName">What y is.</param>
    /// <param name="curves">Each curve's name and points, in the order of x; an interval of NaN is none.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Curves(
        string heading,
        string xName,
        string yName,
        params IReadOnlyList<(string Name, IReadOnlyList<(double X, Estimate Y)> Points)> curves
    )
    {
        ArgumentNullException.ThrowIfNull(curves);
        var table = Sortable(
            ["curve", xName, yName, "lower", "upper"],
            [.. curves.SelectMany(c => c.Points.Select(p => (IReadOnlyList<object?>)[c.Name, p.X, p.Y.Value, p.Y.Lower, p.Y.Upper]))]
        );
        return Add(
            heading,
            Figures(
                Plot.Curves(
                    heading,
                    xName,
                    yName,
                    [.. curves.Select(c => (c.Name, (IReadOnlyList<Plot.Point>)[.. c.Points.Select(p => Of(p.Y) with { X = p.X })]))]
                ),
                table
            )
        );
    }

    /// <summary>Adds what each stage cost.</summary>
    /// <param name="cost">The log that was handed to the calls as their progress.</param>
    /// <param name="heading">The heading.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Cost(CostLog cost, string heading = "Cost")
    {
        ArgumentNullException.ThrowIfNull(cost);
        return Add(
            heading,
            Sortable(
                ["stage", "seconds", "examples, over all passes", "examples a second", "largest memory, MB"],
                [
                    .. cost.Stages.Select(s =>
                        (IReadOnlyList<object?>)
                            [s.Name, s.Seconds, s.Done, s.Seconds > 0 ? s.Done / s.Seconds : double.NaN, s.PeakMemory / 1048576]
                    ),
                ]
            )
        );
    }

    /// <summary>Adds what results took, stage by stage: seconds by the clock and of the processor, and memory.</summary>
    /// <param name="costs">
    /// Each result with its cost, <see cref="ScoreMetadata.Cost"/> of scores or <see cref="Curvature.CurvatureInfo.Cost"/> of a fit; where
    /// a result has none, as one of an older file, it says so.
    /// </param>
    /// <returns>The report.</returns>
    public InfluenceReport Cost(params IReadOnlyList<(string Of, ScoreMetadata.RunCost? Cost)> costs)
    {
        ArgumentNullException.ThrowIfNull(costs);
        var rows = costs.SelectMany(one =>
            one.Cost is null
                ? [(IReadOnlyList<object?>)[one.Of, "not known", null, null, null]]
                : one.Cost.Stages.Select(stage =>
                    (IReadOnlyList<object?>)[one.Of, stage.Name, stage.Seconds, stage.ProcessorSeconds, stage.PeakMemory / 1048576]
                )
        );
        return Add("Cost", Sortable(["of", "stage", "seconds", "seconds of the processor", "largest memory, MB"], [.. rows]));
    }

    /// <summary>Adds which parameters take part in the scores, and how their gradients are taken.</summary>
    /// <param name="coverage">The coverage: <c>task.Coverage(train)</c>.</param>
    /// <param name="heading">The heading.</param>
    /// <returns>The report.</returns>
    public InfluenceReport Coverage(ParameterCoverage coverage, string heading = "Coverage")
    {
        ArgumentNullException.ThrowIfNull(coverage);
        var share = string.Create(
            CultureInfo.InvariantCulture,
            $"{coverage.Fraction:0.0%} of {coverage.Total:N0} trainable parameters "
                + $"take part: {coverage.ByRule:N0} by a rule of their layer, {coverage.BySingleExamples:N0} by a pass for each example."
        );
        return Add(
            heading,
            Paragraph(share)
                + Sortable(
                    ["parameter", "elements", "method", "note"],
                    [.. coverage.Parameters.Select(p => (IReadOnlyList<object?>)[p.Name, p.Count, p.Method, p.Note])]
                )
        );
    }

    private static string MixtureHtml(Mixture mixture, Mixture? prior, string title)
    {
        var order = Enumerable.Range(0, mixture.Names.Count).OrderByDescending(i => mixture.Weights[i]).ToList();
        double Prior(int i) => prior is not null && prior.ByName.TryGetValue(mixture.Names[i], out var weight) ? weight : double.NaN;
        Plot.Point At(double value) => new(0, 100 * value, double.NaN, double.NaN);
        Plot.Row[] rows =
        [
            .. order
                .Take(MostRows)
                .Select(i => new Plot.Row(
                    mixture.Names[i],
                    prior is null ? [At(mixture.Weights[i])] : [At(mixture.Weights[i]), At(Prior(i))]
                )),
        ];
        var table = Sortable(
            prior is null ? ["group", "share"] : ["group", "share", "before", "times"],
            [
                .. order.Select(i =>
                    (IReadOnlyList<object?>)(
                        prior is null
                            ? [mixture.Names[i], mixture.Weights[i]]
                            : [mixture.Names[i], mixture.Weights[i], Prior(i), Prior(i) > 0 ? mixture.Weights[i] / Prior(i) : double.NaN]
                    )
                ),
            ]
        );
        return Figures(Plot.Intervals(title, "percent", prior is null ? ["mixture"] : ["mixture", "before"], rows, bars: true), table);
    }

    private static Plot.Point Of(Estimate estimate) => new(0, estimate.Value, estimate.Lower, estimate.Upper);

    /// <summary>RemoveProponents becomes "remove proponents".</summary>
    private static string Words(string name) =>
        string.Concat(name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? string.Empty : " ") + char.ToLowerInvariant(c) : c.ToString()));
}
