using System.Globalization;
using System.Text;
using System.Text.Json;
using Influence.Benchmarks.Reporting;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Selecting;

/// <summary>Seconds and peak memory of selection strategies at growing sizes, and how the cost grows.</summary>
internal static class SelectionBench
{
    private static readonly JsonSerializerOptions s_format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public static int Run(Options options)
    {
        int[] sizes = options.Quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000];
        using (zeros(1))
        {
            // libtorch and its BLAS are loaded by the first tensor.
        }

        var date = DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
        var machine = Machine.Describe(CPU);
        var timings = new List<SelectionTiming>();
        foreach (var selection in SelectionCases.All.Where(one => options.Selections.Contains(one.Key)))
        {
            foreach (var size in sizes)
            {
                timings.Add(SelectionRuns.Measure(selection, size));
                Console.WriteLine(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{selection.Key}, {size:N0} examples: {timings[^1].Seconds:F2} s, {timings[^1].ProcessorSeconds:F2} s of "
                            + $"the processor, {timings[^1].PeakMiB:F0} MiB"
                    )
                );
            }

            if (options.Output is { } folder)
            {
                var name = $"{date}-selection{(options.Quick ? "-quick" : string.Empty)}";
                Write(
                    folder,
                    name,
                    Markdown(date, options.Quick, machine, timings, sizes),
                    new
                    {
                        date,
                        machine,
                        timings,
                    }
                );
            }
        }

        Console.WriteLine();
        Console.WriteLine(Markdown(date, options.Quick, machine, timings, sizes));
        return 0;
    }

    /// <summary>After each strategy, so that what was measured is not lost where a later one fails.</summary>
    private static void Write(string folder, string name, string text, object report)
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, name);
        File.WriteAllText($"{path}.md", text);
        File.WriteAllText($"{path}.json", JsonSerializer.Serialize(report, s_format) + "\n");
        Console.WriteLine($"Wrote {Path.GetRelativePath(Environment.CurrentDirectory, $"{path}.md")} and .json");
    }

    private static string Markdown(
        string date,
        bool quick,
        IReadOnlyDictionary<string, string> machine,
        IReadOnlyList<SelectionTiming> timings,
        int[] sizes
    )
    {
        var text = new StringBuilder();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"# Selection at size, {date}, cpu{(quick ? " (quick: up to 100,000 examples)" : string.Empty)}"
        );
        text.AppendLine();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"Synthetic examples around 1,000 centres, float32 features of "
                + $"{SyntheticPool.Dimensions} dimensions, scores for {SyntheticPool.Targets} targets. Each figure is one"
        );
        text.AppendLine(
            "run in a process of its own after a run on 2,000 examples. MiB is the peak beyond the process with the pool in "
                + "it (features"
        );
        text.AppendLine(
            "and scores of 10^6 examples take 305 MiB). CPU s are those of all cores together; growth is the exponent p of "
                + "N^p in CPU s."
        );
        text.AppendLine();
        foreach (var (name, value) in machine)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {name}: {value}");
        }

        text.AppendLine();
        var table = new TextTable([
            "strategy",
            .. sizes.SelectMany(size =>
                (IEnumerable<string>)[string.Create(CultureInfo.InvariantCulture, $"{size:N0}: s"), "CPU s", "MiB"]
            ),
            .. sizes.Skip(1).Select(size => string.Create(CultureInfo.InvariantCulture, $"growth to {size:N0}")),
        ]);
        foreach (var rows in timings.GroupBy(timing => timing.Title))
        {
            var bySize = rows.OrderBy(row => row.Examples).ToList();
            table.Add([
                rows.Key,
                .. bySize.SelectMany(row =>
                    (IEnumerable<string>)
                        [Number(row.Seconds), Number(row.ProcessorSeconds), row.PeakMiB.ToString("F0", CultureInfo.InvariantCulture)]
                ),
                .. bySize.Zip(
                    bySize.Skip(1),
                    (a, b) =>
                        (Math.Log(b.ProcessorSeconds / a.ProcessorSeconds) / Math.Log((double)b.Examples / a.Examples)).ToString(
                            "F2",
                            CultureInfo.InvariantCulture
                        )
                ),
            ]);
        }

        return text.Append(table).ToString();

        static string Number(double seconds) => seconds.ToString(seconds < 10 ? "F2" : "F0", CultureInfo.InvariantCulture);
    }
}
