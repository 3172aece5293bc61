using System.Globalization;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// Retraining without the examples that scores name: how the loss rises when the strongest proponents go, how it falls when
/// the strongest opponents go, beside random examples; and how it is when proponents alone are kept.
/// </summary>
/// <remarks>
/// Plan, run, evaluate: <c>var plan = curve.Plan(("EK-FAC", scores)); var runs = retraining.Run(plan.Subsets, queries.Ids, train);
/// curve.Evaluate(plan, runs)</c>. Several methods share one run on all examples and one random baseline. The training function
/// keeps the number of epochs, or of steps, fixed: with fewer examples these are not the same.
/// </remarks>
public sealed partial record RemovalCurve
{
    /// <summary>The shares of the examples to leave out, or to keep.</summary>
    /// <value>0.05, 0.1, 0.2 and 0.3.</value>
    public IReadOnlyList<double> Shares
    {
        get;
        init =>
            field =
                value is { Count: > 0 } && value.All(s => s is > 0 and < 1) && value.Distinct().Count() == value.Count
                    ? [.. value.Order()]
                    : throw new InfluenceException("Shares lie between 0 and 1, none twice: Shares = [0.1, 0.2].");
    } = [0.05, 0.1, 0.2, 0.3];

    /// <summary>Whether opponents are left out too.</summary>
    /// <value>True.</value>
    public bool Opponents { get; init; } = true;

    /// <summary>Whether proponents are kept too, and all else left out.</summary>
    /// <value>False.</value>
    public bool Keep { get; init; }

    /// <summary>How many draws of random examples stand beside each share.</summary>
    /// <value>3.</value>
    public int RandomRepeats
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>Of the random examples.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>The subsets to retrain on, by one score an example.</summary>
    /// <param name="rankings">Name and scores, high = proponent; all of the same examples.</param>
    /// <returns>The plan; the same scores and settings give the same.</returns>
    /// <exception cref="InfluenceException">Names that repeat, scores that are no numbers, other examples, or a share that is less than one
    /// example.</exception>
    public Planned Plan(params (string Name, ExampleScores Scores)[] rankings)
    {
        ArgumentNullException.ThrowIfNull(rankings);
        InfluenceException.ThrowIfAny([.. Problems(rankings)]);
        long[] ids = [.. rankings[0].Scores.Ids];
        var steps = new List<RemovalStep>();
        var removed = new List<(string Name, IEnumerable<long> Ids)>();
        foreach (var share in Shares)
        {
            var count = (int)Math.Round(share * ids.Length);
            foreach (var (name, scores) in rankings)
            {
                // Ties go to the lowest id, so that the order of the examples changes nothing.
                long[] order =
                [
                    .. Enumerable
                        .Range(0, ids.Length)
                        .OrderByDescending(i => scores[i])
                        .ThenBy(i => scores.Ids[i])
                        .Select(i => scores.Ids[i]),
                ];
                Add(name, Kind.RemoveProponents, order.Take(count));
                if (Opponents)
                {
                    Add(name, Kind.RemoveOpponents, order.Reverse().Take(count));
                }

                if (Keep)
                {
                    Add(name, Kind.KeepProponents, order.Skip(count));
                }
            }

            for (var repeat = 0; repeat < RandomRepeats; repeat++)
            {
                var random = new KeyedRandom(Seed, "removal", repeat);
                long[] order = [.. ids.OrderBy(random.Of)];
                Add($"random {repeat.ToString(CultureInfo.InvariantCulture)}", Kind.RemoveRandom, order.Take(count));
                if (Keep)
                {
                    Add($"random {repeat.ToString(CultureInfo.InvariantCulture)}", Kind.KeepRandom, order.Skip(count));
                }
            }

            void Add(string name, Kind kind, IEnumerable<long> without)
            {
                steps.Add(new RemovalStep(name, kind, share, count));
                removed.Add((string.Create(CultureInfo.InvariantCulture, $"{kind} {share:0.####%}, {name}"), without));
            }
        }

        return new Planned(Subsets.Without(ids, removed), steps, [.. rankings.Select(r => r.Name)]);
    }

    /// <summary>The subsets to retrain on, by the mean over queries of each example's scores.</summary>
    /// <param name="rankings">Name and scores; they stay the caller's.</param>
    /// <returns>The plan; the same scores and settings give the same.</returns>
    /// <exception cref="InfluenceException">As above.</exception>
    public Planned Plan(params (string Name, InfluenceScores Scores)[] rankings)
    {
        ArgumentNullException.ThrowIfNull(rankings);
        return Plan([.. rankings.Select(r => (r.Name, Mean(r.Name, r.Scores)))]);
    }

    /// <summary>What the runs say.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="runs">The runs of its subsets.</param>
    /// <returns>A point for each method, kind and share, and the areas between curves.</returns>
    /// <exception cref="InfluenceException">The runs are another plan's, or no query was measured throughout.</exception>
    public Result Evaluate(Planned plan, Retraining.Result runs)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(runs);
        var (rises, dropped) = PlannedRuns.Rises(plan.Subsets, runs); // step by step, query by query
        double[] Of(string? method, Kind kind, double share)
        {
            int[] steps =
            [
                .. Enumerable
                    .Range(0, plan.Steps.Count)
                    .Where(s =>
                        plan.Steps[s].Kind == kind
                        && plan.Steps[s].Share.Equals(share)
                        && (method is null || plan.Steps[s].Method == method)
                    ),
            ];
            return [.. Enumerable.Range(0, rises[0].Length).Select(q => steps.Average(s => rises[s][q]))];
        }

        var kinds = plan.Steps.Select(s => s.Kind).Distinct().Order().ToList();
        var (points, areas) = (new List<Point>(), new List<Comparison>());
        foreach (var kind in kinds)
        {
            var isRandom = kind is Kind.RemoveRandom or Kind.KeepRandom;
            foreach (var method in isRandom ? ["random"] : plan.Methods)
            {
                points.AddRange(
                    plan.Shares.Select(share => new Point(
                        method,
                        kind,
                        share,
                        plan.CountOf(share),
                        Bootstrap.Mean("queries", Of(isRandom ? null : method, kind, share))
                    ))
                );
                if (!isRandom)
                {
                    var baseline = kind == Kind.KeepProponents ? Kind.KeepRandom : Kind.RemoveRandom;
                    var sign = kind == Kind.RemoveProponents ? 1 : -1;
                    areas.Add(new Comparison(method, kind, baseline, Bootstrap.Mean("queries", Area(method, kind, null, baseline, sign))));
                }
            }
        }

        if (kinds.Contains(Kind.RemoveOpponents))
        {
            areas.AddRange(
                plan.Methods.Select(method => new Comparison(
                    method,
                    Kind.RemoveProponents,
                    Kind.RemoveOpponents,
                    Bootstrap.Mean("queries", Area(method, Kind.RemoveProponents, method, Kind.RemoveOpponents, 1))
                ))
            );
        }

        return new Result(points, areas, dropped);

        double[] Area(string method, Kind kind, string? otherMethod, Kind other, int sign)
        {
            // Both curves meet where nothing is left out.
            var start = kind == Kind.KeepProponents ? 1.0 : 0.0;
            var curve = plan
                .Shares.Select(share =>
                    (Share: share, Gap: Of(method, kind, share).Zip(Of(otherMethod, other, share), (a, b) => sign * (a - b)).ToArray())
                )
                .Append((Share: start, Gap: new double[rises[0].Length]))
                .OrderBy(p => p.Share)
                .ToList();
            return
            [
                .. Enumerable
                    .Range(0, rises[0].Length)
                    .Select(q =>
                        curve.Zip(curve.Skip(1), (a, b) => (b.Share - a.Share) * (a.Gap[q] + b.Gap[q]) / 2).Sum()
                        / (curve[^1].Share - curve[0].Share)
                    ),
            ];
        }
    }

    private IEnumerable<string> Problems((string Name, ExampleScores Scores)[] rankings)
    {
        if (
            rankings.Length == 0
            || rankings.Select(r => r.Name).Distinct().Count() != rankings.Length
            || rankings.Any(r => string.IsNullOrWhiteSpace(r.Name))
        )
        {
            yield return "Scores, each with a name of its own, are needed; found "
                + $"{InfluenceException.List([.. rankings.Select(r => $"\"{r.Name}\"")])}.";
            yield break;
        }

        var ids = rankings[0].Scores.Ids.ToHashSet();
        foreach (var (name, scores) in rankings)
        {
            if (!ids.SetEquals(scores.Ids))
            {
                yield return $"All scores need the same training examples; those of \"{name}\" have others than those of "
                    + $"\"{rankings[0].Name}\".";
            }

            var broken = scores.Ids.Where((_, i) => double.IsNaN(scores[i])).ToList();
            if (broken.Count > 0)
            {
                yield return $"The scores \"{name}\" hold no number for these examples: ids {InfluenceException.List(broken)}.";
            }
        }

        foreach (var share in Shares.Where(s => Math.Round(s * ids.Count) < 1 || Math.Round(s * ids.Count) >= ids.Count))
        {
            yield return $"A share of {share} of {ids.Count} examples is none, or all: choose other Shares.";
        }
    }

    private static ExampleScores Mean(string name, InfluenceScores scores)
    {
        using var scope = NewDisposeScope();
        var mean = scores.Values.to_type(ScalarType.Float64).mean([0L]); // [N]
        return ExampleScores.Of(scores.TrainIds, mean.contiguous().data<double>().ToArray(), name);
    }

    /// <summary>What is left out of the training data, or kept of it.</summary>
    public enum Kind
    {
        /// <summary>The highest scores are left out: losses should rise.</summary>
        RemoveProponents,

        /// <summary>The lowest scores are left out: losses should fall.</summary>
        RemoveOpponents,

        /// <summary>Random examples are left out.</summary>
        RemoveRandom,

        /// <summary>The highest scores alone are kept, as where data are selected.</summary>
        KeepProponents,

        /// <summary>Random examples alone are kept.</summary>
        KeepRandom,
    }
}
