using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Shared;

/// <summary>Asks nvidia-smi about a GPU; TorchSharp has no memory statistics.</summary>
internal static class GpuMemory
{
    /// <summary>MiB in use on the whole GPU; null on a CPU.</summary>
    public static double? UsedMiB(Device device) =>
        device.type == DeviceType.CUDA ? double.Parse(Query(device, "memory.used"), CultureInfo.InvariantCulture) : null;

    /// <summary>The GPU's name and memory.</summary>
    public static string Describe(Device device) =>
        $"{Query(device, "name")}, {Query(device, "memory.total")} MiB, driver {Query(device, "driver_version")}";

    private static string Query(Device device, string what)
    {
        cuda.synchronize(device);
        var start = new ProcessStartInfo(
            "nvidia-smi",
            ["-i", device.index.ToString(CultureInfo.InvariantCulture), $"--query-gpu={what}", "--format=csv,noheader,nounits"]
        )
        {
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start) ?? throw new BenchmarkException("nvidia-smi could not be started.");
        var output = process.StandardOutput.ReadToEnd().Trim();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new BenchmarkException($"nvidia-smi could not tell {what}: {output}");
    }
}
