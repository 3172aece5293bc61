using System.Globalization;
using System.Runtime.InteropServices;
using Influence.Benchmarks.Workloads;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Measuring;

/// <summary>
/// The peak memory of one computation beyond the model and the data, measured in a process of its own.
/// </summary>
/// <param name="Host">MiB of the process, from the kernel's high-water mark.</param>
/// <param name="Gpu">MiB that the process took on the GPU; null without one. libtorch keeps what it once took.</param>
internal sealed record PeakMemory(double Host, double? Gpu)
{
    /// <summary>The command of the child process.</summary>
    public const string Verb = "memory";

    /// <summary>Measures in a child process.</summary>
    public static PeakMemory Measure(string workload, string measurement, Options options)
    {
        var output = ChildProcess.Run(
            [
                Verb,
                "--only",
                workload,
                "--measurement",
                measurement,
                "--device",
                options.Device,
                .. options.Quick ? ["--quick"] : Array.Empty<string>(),
            ],
            $"the memory of {measurement} on {workload}"
        );
        var numbers = output.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return numbers.Length == 2
            ? new PeakMemory(
                double.Parse(numbers[0], CultureInfo.InvariantCulture),
                numbers[1] == "-" ? null : double.Parse(numbers[1], CultureInfo.InvariantCulture)
            )
            : throw new BenchmarkException($"Measuring the memory of {measurement} on {workload} printed '{output}'.");
    }

    /// <summary>The child: prints both numbers.</summary>
    public static int RunChild(string name, string measurement, bool quick, Device device)
    {
        using var workload = WorkloadCatalog.Create(name, device, quick);
        var gpu = GpuMemory.UsedMiB(device);
        ResetHighWaterMark();
        var before = HighWaterMarkMiB();
        Measurement.Run(measurement, workload, device);
        var host = HighWaterMarkMiB() - before;
        var onGpu = GpuMemory.UsedMiB(device) - gpu;
        Console.WriteLine(
            string.Create(CultureInfo.InvariantCulture, $"{host:F1} {onGpu?.ToString("F1", CultureInfo.InvariantCulture) ?? "-"}")
        );
        return 0;
    }

    /// <summary>What was allocated and freed before would otherwise be reused unseen: the managed and the C heap give it back.</summary>
    public static void ReturnFreeMemory()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        _ = TrimHeap(0);
    }

    /// <summary>Sets the mark down to what the process holds now (proc(5), clear_refs).</summary>
    public static void ResetHighWaterMark() => File.WriteAllText("/proc/self/clear_refs", "5");

    [DllImport("libc", EntryPoint = "malloc_trim")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static extern int TrimHeap(nuint pad);

    public static double HighWaterMarkMiB()
    {
        var line =
            File.ReadLines("/proc/self/status").FirstOrDefault(line => line.StartsWith("VmHWM:", StringComparison.Ordinal))
            ?? throw new BenchmarkException("The kernel gives no VmHWM in /proc/self/status.");
        return long.Parse(line["VmHWM:".Length..^"kB".Length], NumberStyles.Integer, CultureInfo.InvariantCulture) / 1024.0;
    }
}
