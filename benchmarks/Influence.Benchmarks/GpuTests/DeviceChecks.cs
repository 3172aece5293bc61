using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>Where results lie, what stays behind, and what is said when model and data lie apart.</summary>
internal static class DeviceChecks
{
    private static readonly WorkloadSize Size = new(Train: 24, Queries: 6);

    public static IEnumerable<Check> All(Device device, IReadOnlyList<string> workloads) =>
        [
            new("scores come to the CPU in the model's dtype", () => ScoresOnCpu(device)),
            new("the model stays where it was, weights and flags alike", () => ModelUnchanged(device)),
            new("no tensor stays behind after a score", () => NothingLeft(device, workloads, w => Score(w))),
            new(
                "no tensor stays behind after self-influence",
                () => NothingLeft(device, workloads, w => new TracIn().SelfInfluence(w.Task, w.TrainExamples))
            ),
            new("no tensor stays behind after an EK-FAC fit and a score with it", () => NothingLeft(device, workloads, FitAndScore)),
            new("no tensor stays behind after a cancelled score", () => NothingLeft(device, workloads, Cancelled)),
            new("data on another device than the model are refused in plain words", () => OtherDevice(device)),
        ];

    private static void ScoresOnCpu(Device device)
    {
        using var workload = Create("mlp", device);
        using var scores = new TracIn().Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
        Require.That(scores.Values.device_type == DeviceType.CPU, $"the scores lie on {scores.Values.device}");
        Require.That(scores.Values.dtype == ScalarType.Float32, $"the scores are {scores.Values.dtype}");
    }

    private static void ModelUnchanged(Device device)
    {
        using var workload = Create("cnn", device);
        using var scope = NewDisposeScope();
        var before = workload.Model.named_parameters().Select(p => (p.name, Value: p.parameter.detach().clone())).ToList();
        Score(workload);
        foreach (var (name, value) in before)
        {
            var now = workload.Model.get_parameter(name)!;
            Require.That(now.device_type == device.type, $"{name} lies on {now.device}");
            Require.That(now.requires_grad, $"{name} lost requires_grad");
            Require.That(now.grad is null, $"{name} was given a grad");
            Require.That(now.detach().eq(value).all().item<bool>(), $"{name} changed");
        }
    }

    private static void NothingLeft(Device device, IReadOnlyList<string> workloads, Action<Workload> work)
    {
        foreach (var name in workloads)
        {
            using var workload = Create(name, device);
            work(workload);
            var before = Live();
            work(workload);
            Require.That(Live() == before, $"{name}: {Live() - before} tensors stay behind");
        }

        static long Live() => DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
    }

    private static void Cancelled(Workload workload)
    {
        using var source = new CancellationTokenSource();
        try
        {
            using var scores = new TracIn().Score(
                workload.Task,
                workload.TrainExamples,
                workload.QueryExamples,
                new CancelAtFirst(source),
                source.Token
            );
            Require.That(workload.TrainCount <= workload.BatchSize, "the cancelled call came to its end");
        }
        catch (OperationCanceledException)
        {
            // As it should.
        }
    }

    private static void OtherDevice(Device device)
    {
        // Beside a CPU there is always the meta device, whose tensors have shapes and no values.
        var other = device.type == DeviceType.CUDA ? CPU : new Device("meta");
        using var workload = Create("mlp", device);
        using var x = workload.Train.X.to(other);
        using var y = workload.Train.Y.to(other);
        try
        {
            new TracIn().SelfInfluence(workload.Task, Examples.FromTensors(("x", x), ("y", y)));
            Require.That(false, "nothing was said");
        }
        catch (InfluenceException exception)
        {
            var names = new[] { device, other }.Select(d => d.type.ToString());
            Require.That(
                names.All(name => exception.Message.Contains(name, StringComparison.OrdinalIgnoreCase)),
                $"the message does not name both devices: {exception.Message}"
            );
        }
    }

    private static Workload Create(string name, Device device) => WorkloadCatalog.Create(name, Size, ScalarType.Float32, device);

    private static void Score(Workload workload)
    {
        using var scores = new TracIn().Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
    }

    private static void FitAndScore(Workload workload)
    {
        using var curvature = Ekfac.Fit(workload.Task, workload.TrainExamples);
        using var scores = new InfluenceFunction(curvature).Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
    }

    /// <summary>Cancels when the first batch is reported, on the calling thread.</summary>
    private sealed class CancelAtFirst(CancellationTokenSource source) : IProgress<InfluenceProgress>
    {
        public void Report(InfluenceProgress value) => source.Cancel();
    }
}
