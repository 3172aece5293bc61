using System.Globalization;

namespace TrainingLoop;

/// <summary>A job's runs side by side, as tables: means over seeds, and the standard deviation behind them.</summary>
internal sealed class Comparison(NoisyJob job, IReadOnlyList<TrainingRun> runs)
{
    private readonly IReadOnlyList<IGrouping<Method, TrainingRun>> _methods = [.. runs.GroupBy(run => run.Method)];

    /// <summary>Held-out loss and accuracy at equal examples and in equal time, what was trained on, and what a step costs.</summary>
    public IEnumerable<IReadOnlyList<string>> Losses()
    {
        var (steps, plain) = (job.Steps, _methods[0]);
        yield return
        [
            job.Unit.Name,
            $"{steps / 4 * job.BatchSize:N0}",
            $"{steps / 2 * job.BatchSize:N0}",
            $"{steps * job.BatchSize:N0} examples",
            "against plain",
            "in plain's time",
            "against plain",
            "accuracy, %",
            "in plain's time",
            "noise, %",
            "step",
        ];
        foreach (var method in _methods)
        {
            var ratio = Median(
                method
                    .Zip(plain, (run, other) => run.StepSeconds.Zip(other.StepSeconds, (own, of) => own / of))
                    .SelectMany(ratios => ratios)
            );

            // No run is longer than the steps that were made.
            var inTime = Math.Min(steps, steps / ratio);
            yield return
            [
                NameOf(method.Key),
                WithSpread([.. method.Select(run => run.At(steps / 4).Loss)], "0.000"),
                WithSpread([.. method.Select(run => run.At(steps / 2).Loss)], "0.000"),
                WithSpread([.. method.Select(run => run.At(steps).Loss)], "0.000"),
                Signed([.. method.Zip(plain, (run, other) => run.At(steps).Loss - other.At(steps).Loss)]),
                WithSpread([.. method.Select(run => run.At(inTime).Loss)], "0.000"),
                Signed([.. method.Zip(plain, (run, other) => run.At(inTime).Loss - other.At(steps).Loss)]),
                WithSpread([.. method.Select(run => 100 * run.At(steps).Accuracy)], "0.0"),
                WithSpread([.. method.Select(run => 100 * run.At(inTime).Accuracy)], "0.0"),
                string.Create(CultureInfo.InvariantCulture, $"{100 * method.Average(run => run.NoisyShare):0}"),
                string.Create(CultureInfo.InvariantCulture, $"{ratio:0.00}"),
            ];
        }
    }

    /// <summary>How well what was recorded on the way tells noise from clean examples.</summary>
    public IEnumerable<IReadOnlyList<string>> Findings()
    {
        var findings = runs.Select(run => run.Findings).OfType<Findings>().ToList();
        yield return [$"finding {job.Noise}", "AUC"];
        foreach (var (score, position) in findings[0].Aucs.Select((auc, i) => (auc.Score, i)))
        {
            yield return [score, WithSpread([.. findings.Select(found => found.Aucs[position].Auc)], "0.000")];
        }
    }

    /// <summary>What the average example did to the validation loss.</summary>
    public string Values()
    {
        var findings = runs.Select(run => run.Findings).OfType<Findings>().ToList();
        return "Mean in-run value, thousandths of the validation loss over the run: clean examples "
            + $"{WithSpread([.. findings.Select(f => 1000 * f.CleanValue)], "0.00")}, "
            + $"noisy ones {WithSpread([.. findings.Select(f => 1000 * f.NoisyValue)], "0.00")}. A plain step takes "
            + $"{1000 * Median(_methods[0].SelectMany(run => run.StepSeconds)):0.0} ms.";
    }

    public static string NameOf(Method method) =>
        method switch
        {
            Method.Plain => "plain",
            Method.Recorded => "plain, recorded",
            Method.Reweighted => "reweighted by loss",
            Method.Selected => "online selection",
            _ => "mixture by in-run values",
        };

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted[sorted.Count / 2];
    }

    private static string WithSpread(double[] values, string format) =>
        values.Average().ToString(format, CultureInfo.InvariantCulture)
        + (values.Length > 1 ? $" ±{Deviation(values).ToString(format, CultureInfo.InvariantCulture)}" : string.Empty);

    private static string Signed(double[] values) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{values.Average():+0.000;-0.000;0.000}{(values.Length > 1 ? $" ±{Deviation(values):0.000}" : string.Empty)}"
        );

    /// <summary>The sample standard deviation.</summary>
    private static double Deviation(double[] values) =>
        Math.Sqrt(values.Sum(value => Math.Pow(value - values.Average(), 2)) / (values.Length - 1));
}
