using System.Diagnostics;
using System.Globalization;
using Influence.Curvature;
using Influence.Evaluation;
using Influence.Quality.Parts;
using Influence.Quality.Reporting;

namespace Influence.Quality.Judging;

/// <summary>
/// The linear datamodeling score of methods, all on the same queries: a tenth chooses each method's damping, the others are
/// reported.
/// </summary>
internal sealed class Judge
{
    private const int OneIn = 10;
    private static readonly Lds s_withoutIntervals = new() { Bootstrap = new Bootstrap { Resamples = 0 } };
    private readonly PartContext _context;
    private readonly Retraining.Result _runs;
    private readonly Retraining.Result _oneSeed;
    private readonly Lds _lds;
    private readonly List<Result> _results = [];

    public Judge(PartContext context, Retraining.Result runs, Examples queries, int resamples = 1000)
    {
        (_context, _runs, _oneSeed) = (context, runs, WithFirstSeed(runs));
        _lds = new Lds { Bootstrap = new Bootstrap { Resamples = context.Pick(resamples, 100) } };

        // Test sets come in no order, so that every tenth query is a fair draw.
        HeldOut = queries.Only(queries.Ids.Where((_, i) => i % OneIn == 0));
        Reported = queries.Only(queries.Ids.Where((_, i) => i % OneIn != 0));
    }

    /// <summary>The queries that dampings are chosen on.</summary>
    public Examples HeldOut { get; }

    /// <summary>The queries that figures are over.</summary>
    public Examples Reported { get; }

    public IReadOnlyList<Result> Results => _results;

    /// <summary>What the noise between seeds leaves to reach; null for one seed.</summary>
    public Lds.NoiseCeiling? Ceiling => _lds.Ceiling(_runs, Reported.Ids);

    /// <summary>Another figure than the LDS.</summary>
    public void Add(string metric, string method, Estimate value, int over, string damping = "", double seconds = 0)
    {
        _results.Add(new Result(metric, method, value.Value, value.Lower, value.Upper, over, damping, [], seconds));
        _context.Note($"{metric} {value} {method}");
    }

    /// <summary>A method without a damping. The scores stay the caller's.</summary>
    public InfluenceScores Add(string method, Func<Examples, InfluenceScores> score)
    {
        var clock = Stopwatch.StartNew();
        var scores = score(Reported);
        Keep(method, scores, string.Empty, [], clock.Elapsed.TotalSeconds);
        return scores;
    }

    /// <summary>
    /// A method that costs much for each query, without a damping: it is reported over a part of the queries, and its scores are kept in a
    /// file, with what they took. The scores stay the caller's.
    /// </summary>
    public InfluenceScores Add(string method, int most, string file, Func<Examples, InfluenceScores> score)
    {
        var took = $"{file}.seconds";
        if (!File.Exists(took))
        {
            var (made, seconds) = Clocked.Run(() => score(Few(Reported, most)));
            using (made)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(file)!);
                made.Save(file);
            }

            File.WriteAllText(took, seconds.ToString("R", CultureInfo.InvariantCulture));
        }

        var scores = InfluenceScores.Load(file);
        Keep(method, scores, string.Empty, [], double.Parse(File.ReadAllText(took), CultureInfo.InvariantCulture));
        return scores;
    }

    /// <summary>The same queries as all methods that are reported over a part of them.</summary>
    public Examples Few(int most) => Few(Reported, most);

    /// <summary>Sets a method's query loss difference beside its LDS.</summary>
    public void AddQld(string method, Estimate rise)
    {
        var i = _results.FindIndex(r => r.Metric == "LDS" && r.Method == method);
        _results[i] = _results[i] with { Qld = rise.Value, QldLower = rise.Lower, QldUpper = rise.Upper };
        _context.Note(string.Create(CultureInfo.InvariantCulture, $"QLD {rise.Value:F4} [{rise.Lower:F4}, {rise.Upper:F4}] {method}"));
    }

    /// <summary>A method whose damping is chosen among candidates.</summary>
    /// <param name="method">Its name.</param>
    /// <param name="candidates">The dampings, in order.</param>
    /// <param name="score">Scores of queries at a damping.</param>
    /// <param name="fitSeconds">What its fit took, where that was before.</param>
    /// <returns>The chosen damping with its figure on the held-out tenth, and the scores of the reported queries, which are the
    /// caller's.</returns>
    public (Damping Damping, double HeldOut, InfluenceScores Scores) Add(
        string method,
        IReadOnlyList<Damping> candidates,
        Func<Damping, Examples, InfluenceScores> score,
        double fitSeconds = 0
    ) => Chosen(method, [.. candidates.Select(damping => (damping, OnHeldOut(score, damping)))], score, fitSeconds);

    /// <summary>
    /// A solver that costs many passes for each query, and may diverge: it is reported over a part of the queries. Dampings at
    /// which it diverges are passed over, and without any left it has no figure.
    /// </summary>
    public void TryAdd(string method, IReadOnlyList<Damping> candidates, int most, Func<Damping, Examples, InfluenceScores> score)
    {
        var sweep = new List<(Damping Damping, double Lds)>();
        foreach (var damping in candidates)
        {
            try
            {
                sweep.Add((damping, OnHeldOut(score, damping)));
            }
            catch (InfluenceException exception)
            {
                _context.Note($"{method}, damping {damping.Short()}: {exception.Message}");
            }
        }

        if (sweep.Count > 0)
        {
            Chosen(method, sweep, (damping, queries) => score(damping, Few(queries, most)), fitSeconds: 0).Scores.Dispose();
        }
    }

    private (Damping Damping, double HeldOut, InfluenceScores Scores) Chosen(
        string method,
        List<(Damping Damping, double Lds)> sweep,
        Func<Damping, Examples, InfluenceScores> score,
        double fitSeconds
    )
    {
        var (best, heldOut) = sweep.MaxBy(point => point.Lds);
        var atTheEdge = sweep.Count > 2 && (best == sweep[0].Damping || best == sweep[^1].Damping);
        var clock = Stopwatch.StartNew();
        var scores = score(best, Reported);
        Keep(
            method,
            scores,
            $"{best.Short()}{(atTheEdge ? " (edge)" : string.Empty)}",
            [.. sweep.Select(point => new SweepPoint(point.Damping.Short(), point.Lds))],
            fitSeconds + clock.Elapsed.TotalSeconds
        );
        return (best, heldOut, scores);
    }

    private static Examples Few(Examples queries, int most)
    {
        var every = (queries.Count + most - 1) / most;
        return queries.Only(queries.Ids.Where((_, i) => i % every == 0));
    }

    private double OnHeldOut(Func<Damping, Examples, InfluenceScores> score, Damping damping)
    {
        using var held = score(damping, HeldOut);
        return s_withoutIntervals.Evaluate(held, _runs).Mean.Value;
    }

    private void Keep(string method, InfluenceScores scores, string damping, IReadOnlyList<SweepPoint> sweep, double seconds)
    {
        var lds = _lds.Evaluate(scores, _runs);
        var oneSeed = s_withoutIntervals.Evaluate(scores, _oneSeed).Mean.Value;
        _results.Add(
            new Result("LDS", method, lds.Mean.Value, lds.Mean.Lower, lds.Mean.Upper, lds.Queries.Count, damping, sweep, seconds)
            {
                OneSeed = oneSeed,
            }
        );
        _context.Note($"LDS {lds.Mean} {method}{(damping.Length > 0 ? $", damping {damping}" : string.Empty)}");
    }

    /// <summary>One retraining for each half, as published figures mostly have it: noisier, so that every method's figure is
    /// lower.</summary>
    private static Retraining.Result WithFirstSeed(Retraining.Result runs)
    {
        int[] chosen = [.. Enumerable.Range(0, runs.Count).Where(run => runs.Seeds[run] == runs.Seeds[0])];
        var losses = new double[chosen.Length, runs.QueryIds.Count];
        for (var k = 0; k < chosen.Length; k++)
        {
            for (var q = 0; q < runs.QueryIds.Count; q++)
            {
                losses[k, q] = runs[chosen[k], q];
            }
        }

        return Retraining.Result.Of(runs.Subsets, runs.QueryIds, losses, [runs.Seeds[0]]);
    }
}
