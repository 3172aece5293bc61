using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Workloads;

/// <summary>The workloads by the name that the command line knows.</summary>
internal static class WorkloadCatalog
{
    private static readonly Dictionary<string, (WorkloadSize Size, Func<WorkloadSize, ScalarType, Device, DataFolder, Workload> Create)> Known = new()
    {
        ["mlp"] = (new WorkloadSize(5000, 500), MlpWorkload.Create),
        ["cnn"] = (new WorkloadSize(2000, 200), CnnWorkload.Create),
        ["decoder"] = (new WorkloadSize(1000, 50), DecoderWorkload.Create),
    };

    public static IReadOnlyList<string> Names => [.. Known.Keys];

    /// <summary>A workload in float32 at its full size.</summary>
    public static Workload Create(string name, Device device) => Create(name, Known[name].Size, ScalarType.Float32, device);

    /// <summary>A workload of another size or dtype.</summary>
    public static Workload Create(string name, WorkloadSize size, ScalarType dtype, Device device)
    {
        // Modules must not be born inside a dispose scope; the data leave theirs by name.
        return Known[name].Create(size, dtype, device, DataFolder.Find());
    }
}
