using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>K-FAC and EK-FAC fitted and scored on a device equal those fitted and scored on the CPU in float64.</summary>
internal static class CurvatureChecks
{
    private static readonly WorkloadSize Size = new(Train: 24, Queries: 6);

    public static IEnumerable<Check> All(Device device)
    {
        foreach (var model in WorkloadCatalog.Names)
        {
            foreach (var (dtype, tolerance) in new[] { (ScalarType.Float32, 1e-4), (ScalarType.Float64, 1e-9) })
            {
                foreach (var (method, fit) in Methods)
                {
                    Check Of(string what, Func<Workload, Tensor> scores) =>
                        new($"{model}, {dtype}: {method}, {what}", () => Compare(model, dtype, device, tolerance, scores));

                    // The data's own labels: at float32's precision a sampled label may come out another one.
                    yield return Of("fit and all pairs", w => Pairs(w, fit, Fisher.Empirical));
                    yield return Of("fit and self-influence", w => Self(w, fit));
                    if (dtype == ScalarType.Float64)
                    {
                        yield return Of("fit with sampled labels and all pairs", w => Pairs(w, fit, Fisher.Sampled));
                    }
                }
            }
        }

        yield return new("a fit that was saved and loaded scores as before", () => SavedAndLoaded(device));
    }

    private static readonly (string Name, Func<Workload, Fisher, LayerwisePreconditioner> Fit)[] Methods =
    [
        ("K-FAC", (w, fisher) => Kfac.Fit(w.Task, w.TrainExamples, new CurvatureOptions { Fisher = fisher })),
        ("EK-FAC", (w, fisher) => Ekfac.Fit(w.Task, w.TrainExamples, new CurvatureOptions { Fisher = fisher })),
    ];

    private static void Compare(string model, ScalarType dtype, Device device, double tolerance, Func<Workload, Tensor> scores)
    {
        using var reference = WorkloadCatalog.Create(model, Size, ScalarType.Float64, CPU);
        using var onDevice = WorkloadCatalog.Create(model, Size, dtype, device);
        using var scope = NewDisposeScope();
        Require.Close(scores(onDevice), scores(reference), tolerance);
    }

    private static Tensor Pairs(Workload workload, Func<Workload, Fisher, LayerwisePreconditioner> fit, Fisher fisher)
    {
        using var curvature = fit(workload, fisher);
        return Pairs(workload, curvature);
    }

    private static Tensor Pairs(Workload workload, LayerwisePreconditioner curvature)
    {
        using var scores = new InfluenceFunction(curvature) { Tolerance = 0 }.Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
        return scores.Values.clone();
    }

    private static Tensor Self(Workload workload, Func<Workload, Fisher, LayerwisePreconditioner> fit)
    {
        using var curvature = fit(workload, Fisher.Empirical);
        return tensor(new InfluenceFunction(curvature).SelfInfluence(workload.Task, workload.TrainExamples).Values.ToArray());
    }

    private static void SavedAndLoaded(Device device)
    {
        using var workload = WorkloadCatalog.Create("cnn", Size, ScalarType.Float32, device);
        using var scope = NewDisposeScope();
        var folder = Directory.CreateTempSubdirectory("influence-gpu-tests");
        try
        {
            var path = Path.Combine(folder.FullName, "ekfac.safetensors");
            using var fitted = Ekfac.Fit(workload.Task, workload.TrainExamples);
            fitted.Save(path);
            using var loaded = Ekfac.Load(path, device);

            // The same numbers in the same order: nothing may differ on a CPU, and next to nothing where a GPU adds in any order.
            Require.Close(Pairs(workload, loaded), Pairs(workload, fitted).to_type(ScalarType.Float64), 1e-5);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
