using System.Globalization;
using Influence.Groups;
using Influence.Mixtures;

namespace DataMixture;

/// <summary>The runs side by side, as tables.</summary>
internal sealed class Comparison(MixtureCorpus corpus, IReadOnlyList<TrainingRun> runs)
{
    private readonly IReadOnlyList<IGrouping<Method, TrainingRun>> _methods = [.. runs.GroupBy(run => run.Method)];

    /// <summary>Held-out loss by method: the mean over seeds, and the standard deviation behind it; then what the mixture cost.</summary>
    public IEnumerable<IReadOnlyList<string>> Losses()
    {
        yield return
        [
            "bits per byte",
            .. corpus.Targets.Select(t => t.Name),
            "mean of targets",
            "against uniform",
            "measuring",
            "of training",
        ];
        foreach (var method in _methods)
        {
            yield return
            [
                method.Key.Name,
                .. corpus.Targets.Select((_, target) => WithSpread([.. method.Select(run => run.BitsPerByte[target])])),
                WithSpread([.. method.Select(Mean)]),
                Signed([.. method.Zip(_methods[0], (run, uniform) => Mean(run) - Mean(uniform))]),
                $"{method.Average(run => run.Measuring.TotalSeconds).ToString("0.0", CultureInfo.InvariantCulture)} s",
                method
                    .Sum(run => run.Measuring.TotalSeconds / run.Training.TotalSeconds / method.Count())
                    .ToString("0%", CultureInfo.InvariantCulture),
            ];
        }
    }

    /// <summary>The shares of what was trained on, the mean over seeds.</summary>
    public IEnumerable<IReadOnlyList<string>> Mixtures()
    {
        yield return ["trained on", .. corpus.Groups.Names];
        foreach (var method in _methods)
        {
            yield return [method.Key.Name, .. corpus.Groups.Names.Select(name => Share(method.Average(run => run.Drawn[name])))];
        }
    }

    /// <summary>What one run measured and the mixtures that followed; influence per token over that of the best domain, with its standard
    /// error.</summary>
    public static IEnumerable<IReadOnlyList<string>> Measurements(TrainingRun run)
    {
        yield return [$"{run.Method.Name}, seed {run.Seed}", .. run.Method.Start.Names];
        foreach (var measurement in run.History)
        {
            foreach (var (target, name) in measurement.Scores.QueryGroups.Index())
            {
                yield return [$"step {measurement.Step}: {name}", .. Row(measurement.Scores, target)];
            }

            yield return
            [
                $"step {measurement.Step}: mixture",
                .. run.Method.Start.Names.Select(group => Share(measurement.Mixture[group])),
            ];
        }
    }

    /// <summary>How far each re-measurement moved the mixture, in words.</summary>
    public static string Moves(TrainingRun run)
    {
        var moves = run.History.Zip(
            run.History.Skip(1),
            (before, after) =>
                $"{before.Mixture.Distance(after.Mixture).ToString("0.00", CultureInfo.InvariantCulture)} at step {after.Step}"
        );
        return $"{run.Method.Name}, seed {run.Seed}: of 1, the mixture moved by {string.Join(", ", moves)}.";
    }

    private static IEnumerable<string> Row(GroupScores scores, int target)
    {
        var domains = Enumerable.Range(0, scores.TrainGroups.Count).ToArray();
        var scale = domains.Max(domain => Math.Abs(scores.PerToken(target, domain)));
        return domains.Select(domain =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"{scores.PerToken(target, domain) / scale:0.00} "
                    + $"±{scores.StandardError(target, domain) / scores.TrainGroups[domain].Tokens / scale:0.00}"
            )
        );
    }

    private static double Mean(TrainingRun run) => run.BitsPerByte.Average();

    private static string WithSpread(double[] values) =>
        values[0].ToString("0.000", CultureInfo.InvariantCulture) is var one && values.Length == 1
            ? one
            : string.Create(CultureInfo.InvariantCulture, $"{values.Average():0.000} ±{Deviation(values):0.000}");

    private static string Signed(double[] values) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{values.Average():+0.000;-0.000;0.000}{(values.Length > 1 ? $" ±{Deviation(values):0.000}" : string.Empty)}"
        );

    /// <summary>The sample standard deviation.</summary>
    private static double Deviation(double[] values) =>
        Math.Sqrt(values.Sum(value => Math.Pow(value - values.Average(), 2)) / (values.Length - 1));

    private static string Share(double value) => value.ToString("0%", CultureInfo.InvariantCulture);
}
