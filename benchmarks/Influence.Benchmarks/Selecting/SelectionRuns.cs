using System.Diagnostics;
using System.Globalization;
using Influence.Benchmarks.Measuring;

namespace Influence.Benchmarks.Selecting;

/// <summary>Each measurement in a process of its own, so that peak memory is its own too.</summary>
internal static class SelectionRuns
{
    /// <summary>The command of the child process.</summary>
    public const string Verb = "selection-run";

    public static SelectionTiming Measure(SelectionCase selection, int count)
    {
        var output = ChildProcess.Run(
            [Verb, selection.Key, count.ToString(CultureInfo.InvariantCulture)],
            $"{selection.Key} on {count} examples"
        );
        var numbers = output.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return new SelectionTiming(
            selection.Key,
            selection.Title,
            count,
            int.Parse(numbers[3], CultureInfo.InvariantCulture),
            double.Parse(numbers[0], CultureInfo.InvariantCulture),
            double.Parse(numbers[1], CultureInfo.InvariantCulture),
            double.Parse(numbers[2], CultureInfo.InvariantCulture)
        );
    }

    /// <summary>The child: warms up on few examples, then prints seconds, seconds of the processor, MiB and how many were picked.</summary>
    public static int RunChild(string key, int count)
    {
        var selection = SelectionCases.All.Single(one => one.Key == key);
        using (var small = new SyntheticPool(2000))
        {
            selection.Run(small);
        }

        using var data = new SyntheticPool(count);
        PeakMemory.ReturnFreeMemory();
        PeakMemory.ResetHighWaterMark();
        var before = PeakMemory.HighWaterMarkMiB();
        using var process = Process.GetCurrentProcess();
        var used = process.TotalProcessorTime;
        var clock = Stopwatch.StartNew();
        var picked = selection.Run(data);
        var seconds = clock.Elapsed.TotalSeconds;
        process.Refresh();
        var processor = (process.TotalProcessorTime - used).TotalSeconds;
        Console.WriteLine(
            string.Create(CultureInfo.InvariantCulture, $"{seconds:F4} {processor:F4} {PeakMemory.HighWaterMarkMiB() - before:F1} {picked}")
        );
        return 0;
    }
}

/// <summary>One measurement.</summary>
/// <param name="Key">The case.</param>
/// <param name="Title">With its settings.</param>
/// <param name="Examples">N.</param>
/// <param name="Picked">How many were picked, or clusters made.</param>
/// <param name="Seconds">Once, after a run on few examples.</param>
/// <param name="ProcessorSeconds">Of all cores together, which other work on the machine disturbs less.</param>
/// <param name="PeakMiB">Of the process, beyond what held the pool.</param>
internal sealed record SelectionTiming(
    string Key,
    string Title,
    int Examples,
    int Picked,
    double Seconds,
    double ProcessorSeconds,
    double PeakMiB
);
