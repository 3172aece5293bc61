using System.Diagnostics;
using System.Globalization;
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
    /// <summary>Measures in a child process.</summary>
    public static PeakMemory Measure(string workload, string measurement, Options options)
    {
        var program = Environment.ProcessPath ?? throw new BenchmarkException("The path of this process is unknown, so no child can be started.");
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
        {
            start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);
        }

        foreach (var argument in (IEnumerable<string>)
            [Options.Memory, "--only", workload, "--measurement", measurement, "--device", options.Device, .. options.Quick ? ["--quick"] : Array.Empty<string>()])
        {
            start.ArgumentList.Add(argument);
        }

        using var child = Process.Start(start) ?? throw new BenchmarkException($"{program} could not be started.");
        var output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        var numbers = output.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return child.ExitCode == 0 && numbers.Length == 2
            ? new PeakMemory(double.Parse(numbers[0], CultureInfo.InvariantCulture), numbers[1] == "-" ? null : double.Parse(numbers[1], CultureInfo.InvariantCulture))
            : throw new BenchmarkException($"Measuring the memory of {measurement} on {workload} failed (exit code {child.ExitCode}).");
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
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{host:F1} {onGpu?.ToString("F1", CultureInfo.InvariantCulture) ?? "-"}"));
        return 0;
    }

    /// <summary>Sets the mark down to what the process holds now (proc(5), clear_refs).</summary>
    private static void ResetHighWaterMark() => File.WriteAllText("/proc/self/clear_refs", "5");

    private static double HighWaterMarkMiB()
    {
        var line = File.ReadLines("/proc/self/status").FirstOrDefault(line => line.StartsWith("VmHWM:", StringComparison.Ordinal))
            ?? throw new BenchmarkException("The kernel gives no VmHWM in /proc/self/status.");
        return long.Parse(line["VmHWM:".Length..^"kB".Length], NumberStyles.Integer, CultureInfo.InvariantCulture) / 1024.0;
    }
}
