using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using Influence.Estimators;
using Influence.Groups;
using static TorchSharp.torch;

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
    public const string KfacFit = "K-FAC fit";
    public const string KfacPairs = "K-FAC all pairs";
    public const string KfacStrongest = "K-FAC, the 100 strongest";
    public const string KfacFitAndPairs = "K-FAC fit + all pairs";
    public const string EkfacFit = "EK-FAC fit";
    public const string EkfacPairs = "EK-FAC all pairs";
    public const string EkfacFitAndPairs = "EK-FAC fit + all pairs";
    public const string EkfacStrongest = "EK-FAC, the 100 strongest";
    public const string EkfacExact = "EK-FAC all pairs, exact";
    public const string EkfacSelf = "EK-FAC self-influence";
    public const string Groups = "group influence";
    public const string GroupsWithoutErrors = "group influence, no intervals";

    /// <summary>Those whose peak memory is measured, each in a process of its own.</summary>
    public static IReadOnlyList<string> WithMemory(IReadOnlyList<string> methods) =>
        [
            PlainEpoch,
            .. methods.Contains(Options.TracIn) ? [AllPairs, SelfInfluence] : Array.Empty<string>(),
            .. methods.Contains(Options.Influence) ? [KfacFitAndPairs, EkfacFitAndPairs] : Array.Empty<string>(),
            .. methods.Contains(Options.Groups) ? [Groups] : Array.Empty<string>(),
        ];

    public static void Run(string name, Workload workload, Device device)
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
                using (new TracIn().Score(workload.Task, workload.TrainExamples, workload.QueryExamples)) { }

                break;
            case SelfInfluence:
                new TracIn().SelfInfluence(workload.Task, workload.TrainExamples);
                break;
            case Groups:
                ScoreGroups(workload, new GroupInfluence(new TracIn()));
                break;
            case GroupsWithoutErrors:
                ScoreGroups(workload, new GroupInfluence(new TracIn()) { Blocks = 1 });
                break;
            case KfacFitAndPairs:
                using (var run = new InfluenceRun(workload, new DeviceClock(device)))
                {
                    run.FitAndScoreKfac();
                }

                break;
            case EkfacFitAndPairs:
                using (var run = new InfluenceRun(workload, new DeviceClock(device)))
                {
                    run.FitAndScoreEkfac();
                }

                break;
            default:
                throw new BenchmarkException(
                    $"There is no measurement '{name}'; there are "
                        + $"{string.Join(", ", WithMemory([Options.TracIn, Options.Influence, Options.Groups]))}."
                );
        }
    }

    /// <summary>Six groups, mixed in every batch, on two groups of queries.</summary>
    private static void ScoreGroups(Workload workload, GroupInfluence influence)
    {
        var (train, queries) = (workload.TrainExamples, workload.QueryExamples);
        influence.Score(
            workload.Task,
            train,
            ExampleGroups.Of(train.Ids, id => $"group {id % 6}"),
            queries,
            ExampleGroups.Of(queries.Ids, id => $"target {id % 2}")
        );
    }

    public static Work Timed(string name, Workload workload, DeviceClock clock) =>
        Work.Always(() => [(name, clock.Time(() => Run(name, workload, clock.Device)))]);
}
