using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Shared;

/// <summary>Facts about the machine and the libraries; no name of the host, no path.</summary>
internal static class Machine
{
    private static readonly string[] ThreadSettings =
    [
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "GOMP_SPINCOUNT",
        "MKL_NUM_THREADS",
        "GLIBC_TUNABLES",
    ];

    public static IReadOnlyDictionary<string, string> Describe(Device device)
    {
        var facts = new Dictionary<string, string>
        {
            ["processor"] = CpuModel(),
            ["cores"] = Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture),
            ["memory"] = string.Create(
                CultureInfo.InvariantCulture,
                $"{GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (double)(1L << 30):F0} GiB"
            ),
            ["libtorch"] = LibtorchVersion.Describe(),
            ["BLAS and allocators"] = string.Join(", ", MappedLibraries("blas", "mkl", "malloc")),
            ["libtorch threads"] = get_num_threads().ToString(CultureInfo.InvariantCulture),
            ["thread settings"] = ThreadEnvironment(),
            [".NET"] = Environment.Version.ToString(),
            ["load average at the start"] = File.ReadAllText("/proc/loadavg").Split(' ')[0],
        };
        if (device.type == DeviceType.CUDA)
        {
            facts["GPU"] = GpuMemory.Describe(device);
            facts["TF32"] = "off";
        }

        return facts;
    }

    private static string CpuModel() =>
        File.ReadLines("/proc/cpuinfo")
            .FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))
            ?.Split(':', 2)[1]
            .Trim()
        ?? RuntimeInformation.ProcessArchitecture.ToString();

    private static List<string> MappedLibraries(params string[] names)
    {
        var found = File.ReadLines("/proc/self/maps")
            .Select(line => Path.GetFileName(line))
            .Where(file =>
                file.Contains(".so", StringComparison.Ordinal) && names.Any(name => file.Contains(name, StringComparison.Ordinal))
            )
            .Distinct()
            .Order()
            .ToList();
        return found.Count > 0 ? found : ["built into libtorch"];
    }

    /// <summary>As libtorch's libraries found it: the C environment, which .NET's own does not follow.</summary>
    private static string ThreadEnvironment() =>
        string.Join(
            ", ",
            ThreadSettings
                .Select(name => (Name: name, Value: Marshal.PtrToStringUTF8(GetEnvironment(name))))
                .Where(setting => setting.Value is not null)
                .Select(setting => $"{setting.Name}={setting.Value}")
                .DefaultIfEmpty("none")
        );

    [DllImport("libc", EntryPoint = "getenv", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static extern nint GetEnvironment(string name);
}
