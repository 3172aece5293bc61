using Influence.Curvature;
using Influence.Display;

namespace Influence.Estimators;

/// <summary>
/// Chooses a damping on a tenth of the queries, by any measure of quality that the caller has: agreement with leave-one-out or
/// subset retraining, detection of known mislabels, retrieval of known sources. Report results on the other nine tenths.
/// </summary>
public sealed record DampingSearch
{
    /// <summary>The dampings to try; one fit serves them all.</summary>
    /// <value>Relative to the mean eigenvalue, 10^-4 to 10^2 in steps of sqrt(10).</value>
    public IReadOnlyList<Damping> Candidates
    {
        get;
        init => field = value.Count > 0 ? [.. value] : throw new InfluenceException("Candidates is empty: there is no damping to try.");
    } = [.. Enumerable.Range(-8, 13).Select(k => Damping.RelativeToMeanEigenvalue(Math.Pow(10, k / 2.0)))];

    /// <summary>The share of the queries that is held out for the choice.</summary>
    /// <value>0.1.</value>
    public double HeldOut
    {
        get;
        init => field = Check.InsideUnit(value);
    } = 0.1;

    /// <summary>The seed of the draw of held-out queries.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>Scores the held-out queries with each damping.</summary>
    /// <param name="influence">The influence function; its damping is replaced.</param>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries, at least two.</param>
    /// <param name="quality">The quality of scores <c>[held-out queries, N]</c>, higher is better; the ids say which queries they
    /// are.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The best damping, the whole curve, and which queries were used.</returns>
    /// <exception cref="InfluenceException">Bad input, fewer than two queries, or a quality that is never a number.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Run(
        InfluenceFunction influence,
        InfluenceTask task,
        Examples train,
        Examples queries,
        Func<InfluenceScores, double> quality,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(influence);
        ArgumentNullException.ThrowIfNull(quality);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        if (queries.Count < 2)
        {
            throw new InfluenceException("A damping is chosen on some queries and used on others: at least two are needed.");
        }

        var count = Math.Clamp((int)Math.Round(HeldOut * queries.Count), 1, queries.Count - 1);
        var held = queries.Ids.OrderBy(id => Shuffled(Seed, id)).Take(count).ToHashSet();
        var examples = queries.Only(held);
        var points = new List<(Damping Damping, double Quality)>();
        foreach (var damping in Candidates)
        {
            using var scores = (influence with { Damping = damping }).Score(task, train, examples, progress, cancellationToken);
            points.Add((damping, quality(scores)));
        }

        var finite = points.Where(p => double.IsFinite(p.Quality)).ToList();
        return finite.Count > 0
            ? new Result(finite.MaxBy(p => p.Quality).Damping, points, examples.Ids, [.. queries.Ids.Where(id => !held.Contains(id))])
            : throw new InfluenceException("The quality was not a finite number for any damping, so none can be chosen.");
    }

    /// <summary>A number that depends on the seed and the id alone, so that other queries do not change the draw's order.</summary>
    private static ulong Shuffled(long seed, long id)
    {
        var z = ((ulong)seed * 0x9E3779B97F4A7C15) + (ulong)id + 0xD1B54A32D192ED03;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>What a <see cref="DampingSearch"/> found.</summary>
    /// <param name="Best">The damping with the highest quality; of equals the first.</param>
    /// <param name="Points">Every damping that was tried, with its quality.</param>
    /// <param name="HeldOutIds">The queries that the choice was made on.</param>
    /// <param name="RemainingIds">The queries to report on: <c>queries.Only(curve.RemainingIds)</c>.</param>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed record Result(
        Damping Best,
        IReadOnlyList<(Damping Damping, double Quality)> Points,
        IReadOnlyList<long> HeldOutIds,
        IReadOnlyList<long> RemainingIds
    ) : IDisplay
    {
        /// <summary>Whether the best damping is the first or the last one that was tried: a better one may lie beyond.</summary>
        public bool AtTheEdge => Points.Count > 1 && (Best == Points[0].Damping || Best == Points[^1].Damping);

        /// <summary>A table of the curve.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Damping on {HeldOutIds.Count} held-out queries: best {Best}"
                    + (AtTheEdge ? " (at the edge of the candidates: try further ones)" : string.Empty),
                ["damping", "quality", "best"],
                [.. Points.Select(p => (IReadOnlyList<object>)[p.Damping.ToString(), p.Quality, p.Damping == Best ? "<-" : string.Empty])]
            );
    }
}
