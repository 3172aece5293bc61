using System.Globalization;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Tuning;

/// <summary>What one process measures: the fastest of a few runs of each piece of work.</summary>
internal static class SettingSeconds
{
    public const string Verb = "setting-seconds";

    private static readonly Interleaved s_rounds = new(12, TimeSpan.FromSeconds(6));

    public static IReadOnlyList<string> Works { get; } =
    [Measurement.PlainEpoch, Measurement.AllPairs, Measurement.SelfInfluence, Measurement.EkfacFit];

    /// <summary>The child: prints a line with a name, a tab and seconds for each piece of work.</summary>
    public static int RunChild(string name)
    {
        var clock = new DeviceClock(CPU);
        using var workload = WorkloadCatalog.Create(name, CPU, quick: true);
        Work[] works = [.. Works.Select(work => Work.Always(() => [(work, clock.Time(() => Run(work, workload)))]))];
        foreach (var (work, samples) in s_rounds.Run(works, _ => { }))
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{work}\t{samples.Min:R}"));
        }

        return 0;
    }

    /// <summary>Measures in a child process that is started with a setting.</summary>
    public static IReadOnlyDictionary<string, double> Measure(Setting setting, string workload) =>
        ChildProcess
            .Run([Verb, workload], $"{workload} with {setting.Name}", setting)
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split('\t'))
            .ToDictionary(cells => cells[0], cells => double.Parse(cells[1], CultureInfo.InvariantCulture));

    private static void Run(string work, Workload workload)
    {
        if (work == Measurement.EkfacFit)
        {
            Ekfac.Fit(workload.Task, workload.TrainExamples).Dispose();
        }
        else
        {
            Measurement.Run(work, workload, CPU);
        }
    }
}
