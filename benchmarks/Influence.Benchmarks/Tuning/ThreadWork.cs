using System.Globalization;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Workloads;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Tuning;

/// <summary>What the comparisons of calls by one thread's processor time have in common.</summary>
internal static class ThreadWork
{
    /// <summary>The name of the plain epoch among the works.</summary>
    public const string Plain = "plain epoch";

    /// <summary>Times a workload's plain epoch and some calls in turn.</summary>
    /// <param name="workload">Whose epoch it is.</param>
    /// <param name="calls">The calls.</param>
    /// <param name="quick">Once each.</param>
    public static Dictionary<string, Samples> Compare(Workload workload, IEnumerable<Work> calls, bool quick) =>
        (quick ? Interleaved.Quick : new Interleaved(3, TimeSpan.FromMinutes(3))).Run(
            [Work.Always(() => [(Plain, ThreadClock.Time(workload.PlainEpoch))]), .. calls],
            round => Console.Error.WriteLine($"{workload.Key}, round {round}")
        );

    /// <summary>A call by its processor time, run once if it is long.</summary>
    public static Work Timed(string name, Action run) =>
        new(
            () =>
            {
                var seconds = ThreadClock.Time(run);
                Console.Error.WriteLine($"{name}: {seconds:F2} s");
                return [(name, seconds)];
            },
            1,
            TimeSpan.FromSeconds(60)
        );

    public static string Number(double value) => value.ToString("G3", CultureInfo.InvariantCulture);

    /// <summary>Trains a workload's model for some epochs of SGD, its gradients cleared afterwards.</summary>
    public static void Train(Workload workload, int epochs)
    {
        using var optimizer = optim.SGD(workload.Model.parameters(), 0.05, momentum: 0.9);
        const int Batch = 50;
        for (var epoch = 0; epoch < epochs; epoch++)
        {
            for (long start = 0; start + Batch <= workload.TrainCount; start += Batch)
            {
                using var scope = NewDisposeScope();
                optimizer.zero_grad();
                workload.MeanLoss(workload.Train.X.narrow(0, start, Batch), workload.Train.Y.narrow(0, start, Batch)).backward();
                optimizer.step();
            }
        }

        workload.Model.zero_grad();
    }
}
