using System.Diagnostics;
using System.Globalization;
using Influence.Benchmarks.Measuring;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>
/// The library on a device against itself on the CPU in float64. A runner of its own, because a machine with a GPU need not
/// have the .NET SDK that the test projects ask for; on the CPU the very same checks run.
/// </summary>
internal static class GpuTestRunner
{
    public static int Run(Device device, IReadOnlyList<string> workloads)
    {
        Console.WriteLine(device.type == DeviceType.CUDA ? $"On {GpuMemory.Describe(device)}" : "On the CPU");
        var (passed, failed) = (0, 0);
        IEnumerable<Check> checks =
        [
            .. LayerChecks.All(device),
            .. ExactnessChecks.All(device, workloads),
            .. CurvatureChecks.All(device, workloads),
            .. TrainingChecks.All(device, workloads),
            .. DeviceChecks.All(device, workloads),
        ];
        foreach (var check in checks)
        {
            var watch = Stopwatch.StartNew();
            var problem = Problem(check);
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{(problem is null ? "passed" : "FAILED")}  {check.Name} ({watch.Elapsed.TotalSeconds:F1} "
                        + $"s){(problem is null ? string.Empty : $"\n        {problem}")}"
                )
            );
            _ = problem is null ? passed++ : failed++;
        }

        Console.WriteLine($"\n{passed} passed, {failed} failed");
        return failed == 0 ? 0 : 1;
    }

    private static string? Problem(Check check)
    {
        try
        {
            check.Run();
            return null;
        }
        catch (Exception exception)
        {
            // Whatever went wrong is this check's failure; the others still run.
            return exception is CheckFailedException ? exception.Message : exception.ToString();
        }
    }
}
