using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using Influence.Estimators;

namespace Influence.Benchmarks;

/// <summary>The computations whose time and memory are compared.</summary>
internal static class Measurement
{
    public const string PlainEpoch = "plain epoch";
    public const string ForwardOnly = "forward only";
    public const string AllPairs = "all pairs";
    public const string SelfInfluence = "self-influence";
    public const string Naive = "naive loop";
    public const string Matmul = "matmul";

    /// <summary>Those whose peak memory is measured, each in a process of its own.</summary>
    public static IReadOnlyList<string> WithMemory { get; } = [PlainEpoch, AllPairs, SelfInfluence];

    public static void Run(string name, Workload workload)
    {
        switch (name)
        {
            case PlainEpoch:
                workload.PlainEpoch();
                break;
            case ForwardOnly:
                workload.ForwardOnly();
                break;
            case AllPairs:
                using (new TracIn().Score(workload.Task, workload.TrainExamples, workload.QueryExamples))
                {
                }

                break;
            case SelfInfluence:
                new TracIn().SelfInfluence(workload.Task, workload.TrainExamples);
                break;
            default:
                throw new BenchmarkException($"There is no measurement '{name}'; there are {string.Join(", ", WithMemory)}.");
        }
    }

    public static Func<IEnumerable<(string Name, double Seconds)>> Timed(string name, Workload workload, DeviceClock clock) =>
        () => [(name, clock.Time(() => Run(name, workload)))];
}
