using Influence.Benchmarks.Workloads;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>What a training loop yields on the way on a device equals what it yields on the CPU in float64, step for step.</summary>
internal static class TrainingChecks
{
    private const int Steps = 4;
    private const int BatchSize = 6;

    // The dynamics are kept in float32 wherever they come from.
    private const double Float32Rounding = 1e-5;

    private static readonly WorkloadSize s_size = new(Train: Steps * BatchSize, Queries: 6);

    public static IEnumerable<Check> All(Device device, IReadOnlyList<string> workloads)
    {
        foreach (var model in workloads)
        {
            foreach (var (dtype, tolerance) in new[] { (ScalarType.Float32, 1e-3), (ScalarType.Float64, 1e-8) })
            {
                Check Of(string what, double allowed, Func<Workload, Tensor> recorded) =>
                    new($"{model}, {dtype}: {what}", () => Compare(model, dtype, device, Math.Max(tolerance, allowed), recorded));

                yield return Of("gradient norms in the loop, and the weights that come of it", 0, Norms);
                yield return Of("in-run values, first order", 0, w => InRun(w, InRunValues.Expansion.First));
                yield return Of("in-run values, second order", 0, w => InRun(w, InRunValues.Expansion.Second));
                yield return Of("online selection", 0, Chosen);
                yield return Of("training dynamics", Float32Rounding, Dynamics);
            }
        }
    }

    private static void Compare(string model, ScalarType dtype, Device device, double tolerance, Func<Workload, Tensor> recorded)
    {
        using var reference = WorkloadCatalog.Create(model, s_size, ScalarType.Float64, CPU);
        using var onDevice = WorkloadCatalog.Create(model, s_size, dtype, device);
        using var scope = NewDisposeScope();
        Require.Close(recorded(onDevice), recorded(reference), tolerance);
    }

    private static Tensor Norms(Workload workload)
    {
        var norms = new List<Tensor>();
        Loop(
            workload,
            (step, _) =>
            {
                step.Accumulate();
                norms.Add(OnCpu(step.GradientNorms()));
            }
        );
        return cat([.. norms, .. workload.Model.parameters().Select(parameter => OnCpu(parameter.detach()).norm().reshape(1))]);
    }

    private static Tensor InRun(Workload workload, InRunValues.Expansion order)
    {
        var values = new InRunValues { Order = order };
        Loop(
            workload,
            (step, optimizer) =>
            {
                step.Accumulate();
                values.Add(step, optimizer);
            }
        );
        return tensor(values.Scores().Values.ToArray());
    }

    /// <summary>The chosen half's ids and gains; training goes on with it.</summary>
    private static Tensor Chosen(Workload workload)
    {
        var selection = new OnlineSelection();
        var (ids, gains) = (new List<double>(), new List<double>());
        Loop(
            workload,
            (step, optimizer) =>
            {
                var choice = selection.Choose(step, optimizer);
                step.Accumulate(choice);
                ids.AddRange(choice.Ids.Order().Select(id => (double)id));
                gains.AddRange(choice.Gains.OrderDescending());
            }
        );
        var scale = gains.Max(Math.Abs);
        return tensor([.. ids.Select(id => id / workload.TrainCount), .. gains.Select(gain => gain / scale)]);
    }

    private static Tensor Dynamics(Workload workload)
    {
        using var dynamics = new TrainingDynamics();
        using var optimizer = optim.SGD(workload.Model.parameters(), 0.05);
        foreach (var batch in Batches(workload))
        {
            optimizer.zero_grad();
            var logits = workload.Model.call(batch["x"]); // [B, ..., C]
            dynamics.Record(batch.Ids, logits, batch["y"]);
            workload.MeanLoss(batch["x"], batch["y"]).backward();
            optimizer.step();
        }

        return tensor([.. dynamics.El2n().Values, .. dynamics.MeanLoss().Values, .. dynamics.AreaUnderMargin().Values]);
    }

    private static void Loop(Workload workload, Action<TrainingStep, optim.Optimizer> use)
    {
        workload.Model.train();
        using var optimizer = optim.SGD(workload.Model.parameters(), 0.05, momentum: 0);
        var batches = Batches(workload).ToList();
        var validation = BatchOf(workload.Queries, 0, workload.QueryCount, firstId: workload.TrainCount);
        using var loop = TrainingGradients.Open(workload.Task, batches[0], validation);
        foreach (var batch in batches)
        {
            optimizer.zero_grad();
            using var step = loop.Step(batch, validation);
            use(step, optimizer);
            optimizer.step();
        }
    }

    private static IEnumerable<ExampleBatch> Batches(Workload workload) =>
        Enumerable.Range(0, Steps).Select(i => BatchOf(workload.Train, i * BatchSize, BatchSize, i * BatchSize));

    private static ExampleBatch BatchOf((Tensor X, Tensor Y) data, long start, long count, long firstId) =>
        ExampleBatch.Of(
            [.. Enumerable.Range(0, (int)count).Select(i => firstId + i)],
            ("x", data.X.narrow(0, start, count)),
            ("y", data.Y.narrow(0, start, count))
        );

    private static Tensor OnCpu(Tensor values) => values.to_type(ScalarType.Float64).cpu();
}
