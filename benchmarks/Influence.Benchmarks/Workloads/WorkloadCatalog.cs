using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Workloads;

/// <summary>The workloads by the name that the command line knows.</summary>
internal static class WorkloadCatalog
{
    private static readonly Dictionary<
        string,
        (WorkloadSize Size, int QuickTrain, Func<WorkloadSize, ScalarType, Device, DataFolder, Workload> Create)
    > Known = new()
    {
        ["mlp"] = (new WorkloadSize(5000, 500), 5000, MlpWorkload.Create),
        ["cnn"] = (new WorkloadSize(2000, 200), 2000, CnnWorkload.Create),
        ["decoder"] = (new WorkloadSize(1000, 50), 100, DecoderWorkload.Create),
    };

    public static IReadOnlyList<string> Names => [.. Known.Keys];

    /// <summary>A workload in float32 at its full size.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="device">Where model and data lie.</param>
    /// <param name="quick">Fewer training examples where all of them take minutes.</param>
    public static Workload Create(string name, Device device, bool quick) =>
        Create(
            name,
            quick ? Known[name].Size with { Train = Math.Min(Known[name].Size.Train, Known[name].QuickTrain) } : Known[name].Size,
            ScalarType.Float32,
            device
        );

    /// <summary>The same model with as few examples as warm everything up: two batches and a batch of queries.</summary>
    public static Workload CreateSmall(Workload workload, Device device) =>
        Create(
            workload.Key,
            new WorkloadSize(
                (int)Math.Min(workload.TrainCount, 2 * workload.BatchSize),
                (int)Math.Min(workload.QueryCount, workload.BatchSize)
            ),
            ScalarType.Float32,
            device
        );

    /// <summary>A workload of another size or dtype.</summary>
    public static Workload Create(string name, WorkloadSize size, ScalarType dtype, Device device)
    {
        // Modules must not be born inside a dispose scope; the data leave theirs by name.
        return Known[name].Create(size, dtype, device, DataFolder.Find());
    }
}
