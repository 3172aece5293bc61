using System.Globalization;
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

    public static IEnumerable<Check> All(Device device, IReadOnlyList<string> workloads)
    {
        foreach (var model in workloads)
        {
            // The inverse amplifies rounding by the condition number of the damped curvature: 6e-5 in float32 for the MLP on a CPU.
            foreach (var (dtype, tolerance) in new[] { (ScalarType.Float32, 1e-3), (ScalarType.Float64, 1e-9) })
            {
                foreach (var (method, fit) in Methods)
                {
                    Check Of(string what, Fisher fisher) =>
                        new(
                            $"{model}, {dtype}: {method}, {what}",
                            () => Compare(model, dtype, device, tolerance, w => PairsAndSelf(w, fit, fisher))
                        );

                    // The data's own labels: at float32's precision a sampled label may come out another one.
                    yield return Of("fit, all pairs and self-influence", Fisher.Empirical);
                    if (dtype == ScalarType.Float64)
                    {
                        yield return Of("fit with sampled labels, all pairs and self-influence", Fisher.Sampled);
                    }
                }
            }
        }

        yield return new("K-FAC's fewer terms stay within their tolerance", () => WithinTolerance(device));
        yield return new("a fit that was saved and loaded scores as before", () => SavedAndLoaded(device));
    }

    private static readonly (string Name, Func<Workload, Fisher, LayerwisePreconditioner> Fit)[] Methods =
    [
        ("K-FAC", (w, fisher) => Kfac.Fit(w.Task, w.TrainExamples, new Kfac.Options { Fisher = fisher })),
        ("EK-FAC", (w, fisher) => Ekfac.Fit(w.Task, w.TrainExamples, new Ekfac.Options { Fisher = fisher })),
    ];

    private static void Compare(
        string model,
        ScalarType dtype,
        Device device,
        double tolerance,
        Func<Workload, (Tensor Pairs, Tensor Self)> scores
    )
    {
        using var reference = WorkloadCatalog.Create(model, Size, ScalarType.Float64, CPU);
        using var onDevice = WorkloadCatalog.Create(model, Size, dtype, device);
        using var scope = NewDisposeScope();
        var (found, expected) = (scores(onDevice), scores(reference));
        Require.Close(found.Pairs, expected.Pairs, tolerance);
        Require.Close(found.Self, expected.Self, tolerance);
    }

    private static (Tensor Pairs, Tensor Self) PairsAndSelf(
        Workload workload,
        Func<Workload, Fisher, LayerwisePreconditioner> fit,
        Fisher fisher
    )
    {
        using var curvature = fit(workload, fisher);
        var self = new InfluenceFunction(curvature).SelfInfluence(workload.Task, workload.TrainExamples);
        return (Pairs(workload, curvature), tensor(self.Values.ToArray()));
    }

    private static Tensor Pairs(Workload workload, LayerwisePreconditioner curvature)
    {
        using var scores = new InfluenceFunction(curvature) { Tolerance = 0 }.Score(
            workload.Task,
            workload.TrainExamples,
            workload.QueryExamples
        );
        return scores.Values.clone();
    }

    /// <summary>|error| at most the tolerance times sqrt(s(q,q) s(z,z)), and a hundredth of it for float32's rounding.</summary>
    private static void WithinTolerance(Device device)
    {
        using var workload = WorkloadCatalog.Create("mlp", Size, ScalarType.Float32, device);
        using var scope = NewDisposeScope();
        using var curvature = Kfac.Fit(workload.Task, workload.TrainExamples);
        var function = new InfluenceFunction(curvature);
        using var scores = function.Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
        var largest = Roots(workload.QueryExamples).outer(Roots(workload.TrainExamples));
        var error = ((scores.Values - Pairs(workload, curvature)).to_type(ScalarType.Float64).abs() / largest).max().item<double>();
        Require.That(
            error <= 1.01 * function.Tolerance,
            string.Create(CultureInfo.InvariantCulture, $"relative error {error:E2}, allowed {function.Tolerance:E2}")
        );

        Tensor Roots(Examples examples) => tensor(function.SelfInfluence(workload.Task, examples).Values.ToArray()).sqrt();
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
