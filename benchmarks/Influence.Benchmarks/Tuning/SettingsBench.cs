using System.Globalization;
using Influence.Benchmarks.Reporting;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Tuning;

/// <summary>
/// What thread and allocator settings, which a process takes from its environment when it starts, do to a plain epoch and to
/// calls of the library. Each figure is the fastest of several processes that were started in turn.
/// </summary>
internal static class SettingsBench
{
    private const int Rounds = 2;

    public static int Run(Options options)
    {
        using (zeros(1))
        {
            // libtorch and its BLAS are loaded by the first tensor.
        }

        // Made before the processes run, whose load is not the machine's own. They run on the processor, and there is no quick form of it.
        var page = new MarkdownPage(options with { Device = "cpu", Quick = false }, CPU);
        var about = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            Seconds, the fastest of {Rounds} processes that ran in turn with the others; in brackets the share of the default's.
            The decoder has 100 training examples.
            """
        );
        page.Write(
            "settings",
            "Settings of the environment",
            about,
            string.Join('\n', options.Workloads.Select(workload => $"## {workload}\n\n{Table(workload)}"))
        );
        return 0;
    }

    private static TextTable Table(string workload)
    {
        var fastest = Setting.All.ToDictionary(
            setting => setting.Name,
            _ => SettingSeconds.Works.ToDictionary(work => work, _ => double.PositiveInfinity)
        );
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var setting in Setting.All)
            {
                foreach (var (work, seconds) in MeasureOrNone(setting, workload))
                {
                    fastest[setting.Name][work] = Math.Min(fastest[setting.Name][work], seconds);
                }
            }
        }

        var table = new TextTable(["setting", .. SettingSeconds.Works]);
        foreach (var setting in Setting.All)
        {
            table.Add([
                setting.Name,
                .. SettingSeconds.Works.Select(work => Cell(fastest[setting.Name][work], fastest[Setting.Default][work])),
            ]);
        }

        return table;
    }

    private static string Cell(double seconds, double byDefault) =>
        double.IsFinite(seconds) ? string.Create(CultureInfo.InvariantCulture, $"{seconds:G3} ({seconds / byDefault:F2})") : "died";

    /// <summary>Nothing where the process did not live to its end, which is a result, too.</summary>
    private static IReadOnlyDictionary<string, double> MeasureOrNone(Setting setting, string workload)
    {
        try
        {
            return SettingSeconds.Measure(setting, workload);
        }
        catch (BenchmarkException exception)
        {
            Console.Error.WriteLine(exception.Message);
            return new Dictionary<string, double>();
        }
    }
}
