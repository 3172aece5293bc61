using System.Globalization;
using System.Text;
using System.Text.Json;
using Influence.Benchmarks.Measuring;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Recording;

/// <summary>What recorders cost in a training loop, against a plain step of it.</summary>
internal static class RecordingBench
{
    private static readonly JsonSerializerOptions s_format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public static int Run(Options options, Device device)
    {
        var rounds = options.Quick ? new Interleaved(12, TimeSpan.FromSeconds(8)) : new Interleaved(60, TimeSpan.FromSeconds(60));
        var (sections, timings) = (new StringBuilder(), new List<RecordingTiming>());
        foreach (var name in options.Workloads)
        {
            using var steps = new RecordedSteps(name, device);
            List<Work> works = [.. RecordedSteps.Names.Select(steps.Timed)];
            Interleaved.Quick.Run(works, _ => { });
            var own = Timings(name, steps.Count, rounds.Run(works, _ => { }));
            timings.AddRange(own);
            var section = Section(name, steps, own);
            sections.Append(section);
            Console.WriteLine(section);
        }

        // Only now are libtorch and its BLAS loaded, which the description names.
        var date = DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
        var machine = Machine.Describe(device);
        if (options.Output is { } folder)
        {
            Directory.CreateDirectory(folder);
            var path = Path.Combine(folder, $"{date}-training-{options.Device.Split(':')[0]}{(options.Quick ? "-quick" : string.Empty)}");
            File.WriteAllText($"{path}.md", Header(date, options, machine) + sections);
            File.WriteAllText(
                $"{path}.json",
                JsonSerializer.Serialize(
                    new
                    {
                        date,
                        options.Device,
                        machine,
                        timings,
                    },
                    s_format
                ) + "\n"
            );
            Console.WriteLine($"Wrote {Path.GetRelativePath(Environment.CurrentDirectory, $"{path}.md")} and .json");
        }

        return 0;
    }

    private static List<RecordingTiming> Timings(string workload, int steps, Dictionary<string, Samples> samples)
    {
        var plain = samples[RecordedSteps.Plain];
        return
        [
            .. RecordedSteps
                .Names.Select(name => (Name: name, Own: samples[name]))
                .Select(one => new RecordingTiming(
                    workload,
                    one.Name,
                    one.Own.Median / steps * 1e3,
                    one.Own.Min / steps * 1e3,
                    one.Own.MedianRatioTo(plain),
                    one.Own.Min / plain.Min,
                    RecordedSteps.AimOf(one.Name),
                    one.Own.Runs
                )),
        ];
    }

    private static string Header(string date, Options options, IReadOnlyDictionary<string, string> machine)
    {
        var text = new StringBuilder();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"# Recorders in a training loop, {date}, {options.Device}{(options.Quick ? " (quick: fewer rounds)" : string.Empty)}"
        );
        text.AppendLine();
        text.AppendLine(
            "A plain step: cleared gradients, forward, mean cross-entropy, backward, and the step of SGD. Every kind of step "
                + "runs over the"
        );
        text.AppendLine(
            "same batches in turn, round by round; a ratio is over the plain steps of the same round, and the median of these. \"Of"
        );
        text.AppendLine(
            "minima\" compares the fastest rounds, which other work on the machine disturbs least. In-run values and selection have a"
        );
        text.AppendLine(
            "validation batch of a tenth of the training batch in every step; online selection trains on half of the batch "
                + "that it looks at."
        );
        text.AppendLine();
        foreach (var (name, value) in machine)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {name}: {value}");
        }

        return text.AppendLine().ToString();
    }

    private static string Section(string name, RecordedSteps steps, List<RecordingTiming> timings)
    {
        var table = new TextTable("step", "ms, median", "ms, fastest", "ratio to plain", "ratio of minima", "aim", "rounds");
        foreach (var timing in timings)
        {
            table.Add(
                timing.Step,
                Number(timing.Milliseconds, "F2"),
                Number(timing.MinMilliseconds, "F2"),
                Number(timing.Ratio, "F3"),
                Number(timing.RatioOfMinima, "F3"),
                timing.Aim is { } aim ? Number(aim, "F2") : string.Empty,
                timing.Rounds.ToString(CultureInfo.InvariantCulture)
            );
        }

        return $"## {name}: {steps.Title}, batch {steps.BatchSize}, validation {steps.ValidationCount}, {steps.Count} steps a "
            + $"round\n\nData: {steps.DataNote}.\n\n{table}\n";

        static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
    }
}
