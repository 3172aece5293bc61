using Influence.Benchmarks.Workloads;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>Scores on a device equal those on the CPU in float64, from the same weights and data.</summary>
internal static class ExactnessChecks
{
    private static readonly WorkloadSize Size = new(Train: 24, Queries: 6);

    public static IEnumerable<Check> All(Device device, IReadOnlyList<string> workloads)
    {
        foreach (var model in workloads)
        {
            foreach (var (dtype, tolerance) in new[] { (ScalarType.Float32, 1e-4), (ScalarType.Float64, 1e-9) })
            {
                Check Of(string what, Func<Workload, Tensor> scores) =>
                    new($"{model}, {dtype}: {what}", () => Compare(model, dtype, device, tolerance, scores));

                yield return Of("all pairs", w => Pairs(new TracIn(), w));
                yield return Of("cosine", w => Pairs(new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }, w));
                yield return Of("all pairs in several passes", w => Pairs(new TracIn { MemoryBudget = 1 << 20 }, w));
                yield return Of("two checkpoints", TwoCheckpoints);
                yield return Of("self-influence", w => tensor(new TracIn().SelfInfluence(w.Task, w.TrainExamples).Values.ToArray()));
            }
        }
    }

    private static void Compare(string model, ScalarType dtype, Device device, double tolerance, Func<Workload, Tensor> scores)
    {
        using var reference = WorkloadCatalog.Create(model, Size, ScalarType.Float64, CPU);
        using var onDevice = WorkloadCatalog.Create(model, Size, dtype, device);
        using var scope = NewDisposeScope();
        Require.Close(scores(onDevice), scores(reference), tolerance);
    }

    private static Tensor Pairs(TracIn tracin, Workload workload)
    {
        using var scores = tracin.Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
        return scores.Values.clone();
    }

    /// <summary>The weights as they are, and halved, from files; the model keeps its own.</summary>
    private static Tensor TwoCheckpoints(Workload workload)
    {
        var folder = Directory.CreateTempSubdirectory("influence-gpu-tests");
        try
        {
            var first = Checkpoint.Save(Path.Combine(folder.FullName, "1.safetensors"), workload.Model, learningRate: 0.5, step: 1);
            Scale(workload.Model, 0.5);
            var second = Checkpoint.Save(Path.Combine(folder.FullName, "2.safetensors"), workload.Model, learningRate: 0.1, step: 2);
            Scale(workload.Model, 2);
            return Pairs(new TracIn { Checkpoints = [first, second] }, workload);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static void Scale(nn.Module model, double factor)
    {
        using var noGrad = no_grad();
        foreach (var parameter in model.parameters())
        {
            parameter.mul_(factor);
        }
    }
}
