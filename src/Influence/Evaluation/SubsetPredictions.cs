using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// What scores predict for the subsets of retraining runs, beside what the runs measured: one pair of columns a query,
/// joined by id.
/// </summary>
internal sealed class SubsetPredictions
{
    /// <summary>Sums that differ by less than this share of their size differ by rounding only.</summary>
    private const double Rounding = 1e-12;
    private const int SubsetsAtOnce = 256;

    private SubsetPredictions(
        IReadOnlyList<long> queryIds,
        IReadOnlyList<PairedColumn> columns,
        IReadOnlyList<(long QueryId, string Reason)> dropped
    ) => (QueryIds, Columns, Dropped) = (queryIds, columns, dropped);

    /// <summary>The queries that can be judged.</summary>
    public IReadOnlyList<long> QueryIds { get; }

    /// <summary>For each of them the predictions (x) and the measurements (y) of the subsets.</summary>
    public IReadOnlyList<PairedColumn> Columns { get; }

    /// <summary>The scores' other queries.</summary>
    public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

    /// <summary>Rewards: the sum of the scores in the subset, and the negative of the mean loss.</summary>
    public static SubsetPredictions Rewards(InfluenceScores scores, Retraining.Result runs)
    {
        Check(scores, runs);
        var means = runs.Means();
        return Of(scores, runs, Enumerable.Range(0, runs.Subsets.Count).ToArray(), removed: false, (j, column) => -means[j][column]);
    }

    /// <summary>
    /// Rises of the loss: the sum of the scores of what was left out, and the mean loss less that of the run on all examples
    /// (less nothing where there is none: correlations and slopes are the same).
    /// </summary>
    public static SubsetPredictions Rises(InfluenceScores scores, Retraining.Result runs)
    {
        Check(scores, runs);
        var means = runs.Means();
        var all = runs.Subsets.Select((s, j) => (s, j)).FirstOrDefault(p => p.s.Count == runs.Subsets.TrainIds.Count, (null!, -1)).j;
        int[] rows = [.. Enumerable.Range(0, runs.Subsets.Count).Where(j => runs.Subsets[j].Count < runs.Subsets.TrainIds.Count)];
        return Of(scores, runs, rows, removed: true, (j, column) => means[j][column] - (all < 0 ? 0 : means[all][column]));
    }

    /// <summary>Everything that keeps scores and runs from being compared.</summary>
    private static void Check(InfluenceScores scores, Retraining.Result runs)
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(runs);
        var problems = new List<string>();
        var missing = runs.Subsets.TrainIds.Except(scores.TrainIds).ToList();
        if (missing.Count > 0)
        {
            problems.Add(
                $"The runs trained on examples that have no score: ids {InfluenceException.List(missing)}. Scores and runs are "
                    + "joined by id: give both the same ids."
            );
        }

        var unknown = scores.QueryIds.Except(runs.QueryIds).ToList();
        if (unknown.Count > 0)
        {
            problems.Add(
                $"The runs did not measure these queries of the scores: ids {InfluenceException.List(unknown)}. Scores and runs "
                    + "are joined by id: give both the same ids."
            );
        }

        InfluenceException.ThrowIfAny(problems);
    }

    private static SubsetPredictions Of(
        InfluenceScores scores,
        Retraining.Result runs,
        int[] rows,
        bool removed,
        Func<int, int, double> truth
    )
    {
        if (rows.Length < 3)
        {
            throw new InfluenceException($"A correlation over subsets needs at least three; the runs have {rows.Length} that serve here.");
        }

        var sums = Sums(scores, runs.Subsets, rows, removed); // [rows * Q]
        var columnOf = runs.QueryIds.Select((id, c) => (id, c)).ToDictionary(p => p.id, p => p.c);
        var (ids, columns, dropped) = (new List<long>(), new List<PairedColumn>(), new List<(long QueryId, string Reason)>());
        for (var q = 0; q < scores.QueryIds.Count; q++)
        {
            var id = scores.QueryIds[q];
            var column = columnOf[id];
            double[] x = [.. rows.Select((_, k) => sums[(k * scores.QueryIds.Count) + q])];
            double[] y = [.. rows.Select(j => truth(j, column))];
            if (Problem(x, y) is { } problem)
            {
                dropped.Add((id, problem));
            }
            else
            {
                ids.Add(id);
                columns.Add(new PairedColumn(x, y));
            }
        }

        return new SubsetPredictions(ids, columns, dropped);
    }

    private static string? Problem(double[] x, double[] y) =>
        !x.All(double.IsFinite) ? "a score is not finite"
        : !y.All(double.IsFinite) ? "a run's measurement is not finite"
        : IsConstant(x) ? "its scores sum to the same for every subset"
        : IsConstant(y) ? "every run measured the same"
        : null;

    private static bool IsConstant(double[] values) =>
        values.Max() - values.Min() <= Rounding * Math.Max(Math.Abs(values.Max()), Math.Abs(values.Min()));

    /// <summary>The scores' sums over each subset, or over what it leaves out; row by row, one value a query.</summary>
    private static double[] Sums(InfluenceScores scores, Subsets subsets, int[] rows, bool removed)
    {
        using var scope = NewDisposeScope();
        var position = scores.TrainIds.Select((id, n) => (id, n)).ToDictionary(p => p.id, p => p.n);
        int[] at = [.. subsets.TrainIds.Select(id => position[id])];
        var (n, q) = (scores.TrainIds.Count, scores.QueryIds.Count);
        var values = scores.Values.to_type(ScalarType.Float64).t(); // [N, Q]
        var sums = new double[rows.Length * q];
        for (var start = 0; start < rows.Length; start += SubsetsAtOnce)
        {
            using var block = NewDisposeScope();
            var count = Math.Min(SubsetsAtOnce, rows.Length - start);
            var mask = new double[count * n];
            for (var k = 0; k < count; k++)
            {
                for (var i = 0; i < at.Length; i++)
                {
                    mask[(k * n) + at[i]] = subsets[rows[start + k]].Contains(i) != removed ? 1 : 0;
                }
            }

            var product = tensor(mask).reshape(count, n).mm(values); // [count, Q]
            product.contiguous().data<double>().CopyTo(sums.AsSpan(start * q), 0);
        }

        return sums;
    }
}
