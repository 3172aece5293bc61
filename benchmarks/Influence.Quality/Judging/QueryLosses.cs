using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Influence.Evaluation;
using Influence.Quality.Parts;
using Influence.Quality.Training;

namespace Influence.Quality.Judging;

/// <summary>
/// The query loss difference of several methods on the same queries: each method's strongest hundredth for a query is left out of the
/// scored run, with the same seed, order and places in the batches. What several methods leave out alike is trained once.
/// </summary>
internal sealed class QueryLosses(PartContext context, Study study, Judge judge, IReadOnlyList<long> queryIds, long seed)
{
    private readonly Qld _qld = new() { Bootstrap = new Bootstrap { Resamples = context.Pick(10_000, 100) } };
    private readonly Dictionary<string, IReadOnlyList<Qld.Row>> _changes = [];
    private readonly Dictionary<string, double[]> _measured = [];

    /// <summary>What random hundredths do, the mean over queries and draws; it is the same for all methods.</summary>
    public Estimate AtRandom { get; private set; }

    /// <summary>Over how many queries.</summary>
    public int Queries => queryIds.Count;

    public void Add(string method, InfluenceScores scores)
    {
        using var own = EachQuery.Some(scores, queryIds);
        var plan = _qld.Plan(own);
        string[] keys = [.. plan.Subsets.Select(Key)];
        Measure(
            plan.Subsets,
            [.. keys.Index().Where(k => !_measured.ContainsKey(k.Item)).DistinctBy(k => k.Item).Select(k => plan.Subsets[k.Index])]
        );
        var ids = study.Data.Queries().Ids;
        var losses = new double[keys.Length, ids.Count];
        for (var s = 0; s < keys.Length; s++)
        {
            for (var q = 0; q < ids.Count; q++)
            {
                losses[s, q] = _measured[keys[s]][q];
            }
        }

        var result = _qld.Evaluate(plan, Retraining.Result.Of(plan.Subsets, ids, losses, [seed]));
        (_changes[method], AtRandom) = (result.Queries, result.MeanAtRandom);
        judge.AddQld(method, result.Mean);
    }

    /// <summary>
    /// The mean over queries of one method's difference less the other's, with an interval over queries drawn again; null where one was not
    /// measured.
    /// </summary>
    public Estimate? Less(string method, string other)
    {
        if (!_changes.TryGetValue(method, out var own) || !_changes.TryGetValue(other, out var others))
        {
            return null;
        }

        var differences = own.Zip(others, (a, b) => a.Removed - b.Removed).ToArray();
        var random = new Random(0);
        double[] means =
        [
            .. Enumerable
                .Range(0, context.Pick(10_000, 100))
                .Select(_ => differences.Average(_ => differences[random.Next(differences.Length)]))
                .Order(),
        ];
        return new Estimate(differences.Average(), means[(int)(0.025 * means.Length)], means[(int)(0.975 * means.Length)]);
    }

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{queryIds.Count} queries, seed {seed}, left out with weight 0");

    private void Measure(Subsets all, IReadOnlyList<TrainingSubset> missing)
    {
        if (missing.Count == 0)
        {
            return;
        }

        var name = $"qld-{Hash(string.Join(';', missing.Select(Key)))}";
        var runs = study.Retrain(
            name,
            Subsets.Of(all.TrainIds, [.. missing.Select((s, i) => ($"{i}: {s.Name}", s.Ids.AsEnumerable()))]),
            [seed],
            holes: true
        );
        for (var run = 0; run < runs.Count; run++)
        {
            _measured[Key(runs.SubsetOf(run))] = [.. Enumerable.Range(0, runs.QueryIds.Count).Select(q => runs[run, q])];
        }
    }

    private static string Key(TrainingSubset subset) => Hash(string.Join(',', subset.RemovedIds));

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];
}
