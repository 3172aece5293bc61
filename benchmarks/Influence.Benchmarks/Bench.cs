using System.Globalization;
using System.Text;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using static TorchSharp.torch;

namespace Influence.Benchmarks;

/// <summary>Runs the workloads, prints as it goes, and writes the files at the end.</summary>
internal static class Bench
{
    public static int Run(Options options, Device device)
    {
        var report = new Report(
            DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
            options.Device,
            options.Quick,
            new Dictionary<string, string>(),
            []
        );
        var workloads = new List<WorkloadReport>();
        var text = new StringBuilder();
        foreach (var name in options.Workloads)
        {
            using var workload = WorkloadCatalog.Create(name, device, options.Quick);
            if (workloads.Count == 0)
            {
                // Only now are libtorch and its BLAS loaded.
                report = report with
                {
                    Machine = Machine.Describe(device),
                };
                Print(MarkdownReport.Header(report));
            }

            workloads.Add(new WorkloadBench(workload, options, device).Run());
            Print("\n" + MarkdownReport.Section(workloads[^1]));
        }

        Print("\n" + MarkdownReport.Summary(workloads));
        if (options.Output is { } folder)
        {
            foreach (var file in ReportFiles.Write(report with { Workloads = workloads }, folder, text.ToString()))
            {
                Console.WriteLine($"Wrote {Path.GetRelativePath(Environment.CurrentDirectory, file)}");
            }
        }

        return 0;

        void Print(string part)
        {
            text.Append(part);
            Console.WriteLine(part);
        }
    }
}
